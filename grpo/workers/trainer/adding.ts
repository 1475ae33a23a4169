/** Adding shards up in their order, each as soon as it and all before it are there, while later ones are still computed. */

export class Adding<T> {
  private readonly arrived = new Map<number, T>();
  private next = 0;
  private isStopped = false;
  private work: Promise<void> = Promise.resolve();

  /** `add` takes in what has arrived of a shard; the one before is done with then. */
  constructor(
    private readonly count: number,
    private readonly load: (arrived: T) => Promise<Float32Array>,
    private readonly add: (values: Float32Array) => void,
  ) {}

  /** Tells that a shard is there. A second time it means nothing. */
  arrive(shard: number, what: T): void {
    if (this.arrived.has(shard)) return;
    this.arrived.set(shard, what);
    this.work = this.work.then(() => this.goOn());
    this.work.catch(() => {}); // it is looked at in finish()
  }

  private async goOn(): Promise<void> {
    while (!this.isStopped) {
      const what = this.arrived.get(this.next);
      if (what === undefined) return;
      const values = await this.load(what);
      if (this.isStopped) return;
      this.add(values);
      this.next++;
    }
  }

  /** Adds nothing from now on. */
  stop(): void {
    this.isStopped = true;
  }

  /** Waits until all that has arrived is added. Throws what adding failed by. */
  async finish(): Promise<void> {
    await this.work;
    if (this.next < this.count) throw new Error(`workers: ${this.next} of ${this.count} shards were added`);
  }
}
