/** How long the rest of a run takes, by what its updates and evaluations took so far. */

/** What is still to be done. */
export interface Rest {
  /** Updates, the one at hand included. */
  readonly updates: number;
  /** Evaluations. */
  readonly evaluations: number;
}

/** Updates that the pace is taken from: the newest ones, as a machine's load changes. */
const recent = 5;

export class Pace {
  private readonly updates: number[] = [];
  private readonly evaluations: number[] = [];
  private began: number | undefined;

  /** `now` is the clock in milliseconds. */
  constructor(private readonly now: () => number = () => performance.now()) {}

  /** Updates that were done. */
  get count(): number {
    return this.updates.length;
  }

  /** An update begins. */
  begin(): void {
    this.began = this.now();
  }

  /** The update at hand is done; its seconds. */
  end(): number {
    const seconds = this.sinceBegin();
    this.began = undefined;
    this.updates.push(seconds);
    return seconds;
  }

  /** An evaluation took so many seconds. */
  evaluated(seconds: number): void {
    this.evaluations.push(seconds);
  }

  /** Seconds for the rest, less what the update at hand has had of them; undefined before the first update is done. */
  left({ updates, evaluations }: Rest): number | undefined {
    if (this.updates.length === 0) return undefined;
    const rest = mean(this.updates.slice(-recent)) * updates;
    return Math.max(0, rest - this.sinceBegin()) + mean(this.evaluations) * evaluations;
  }

  private sinceBegin(): number {
    return this.began === undefined ? 0 : (this.now() - this.began) / 1000;
  }
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
