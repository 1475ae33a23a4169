/** Votes in the middle of a training, on what the model draws then, so that the taste knows what the policy has become. */
import type { Pause } from '../finetune/run/pause.js';
import type { PairQueue } from './pairs.js';

/** Pauses in a training of so many updates: after a third of them, and after two. */
export const isPause = ({ update, of }: Pick<Pause, 'update' | 'of'>): boolean =>
  [1, 2].some((third) => update === Math.round((third * of) / 3) && update > 0 && update < of);

/** Pairs of a policy that a training waits for votes on. */
export class Asking {
  /** Resolves when there are enough votes, or somebody ended it. */
  readonly over: Promise<void>;
  private cast = 0;
  private finish: () => void = () => {};

  constructor(
    readonly queue: PairQueue,
    /** Updates that the policy has been trained for. */
    readonly update: number,
    /** Votes that are asked for; those that teach nothing count too. */
    readonly of: number,
  ) {
    this.over = new Promise((done) => {
      this.finish = done;
    });
  }

  /** Votes that were cast. */
  get votes(): number {
    return this.cast;
  }

  /** One more vote, or by -1 one less. */
  count(by: 1 | -1): void {
    this.cast += by;
    if (this.cast >= this.of) this.end();
  }

  /** Has the training go on by the votes that there are. */
  end(): void {
    this.finish();
  }
}
