/** Which steps of a trajectory are trained. */
import { check } from '../../engine/errors.js';
import { randomOrder } from '../random.js';

export interface TimestepOptions {
  /** Denoising steps of the rollout, T. */
  readonly steps: number;
  /** Share of the trainable steps that is used, rounded down, at least one. Default 1. */
  readonly fraction?: number;
  /**
   * Whether the last step is trainable. Its noise is tiny, so that its likelihood is steep: Flow-GRPO and DanceGRPO leave it
   * out, the paper's Table 4 counts it. Default false.
   */
  readonly trainLast?: boolean;
  /** Take the steps from a random order that these numbers fix, one for each trajectory, as DanceGRPO does. */
  readonly shuffle?: readonly number[];
}

/** How many steps of each trajectory are trained: what trainedSteps() returns for any seed. */
export function trainedStepCount({ steps, fraction = 1, trainLast = false }: TimestepOptions): number {
  const trainable = trainLast ? steps : steps - 1;
  check(
    Number.isInteger(steps) && trainable >= 1,
    `timesteps: expected ${trainLast ? 1 : 2} steps or more, found ${steps}`,
  );
  check(fraction > 0 && fraction <= 1, `timesteps: expected a fraction above 0 and up to 1, found ${fraction}`);
  return Math.max(1, Math.floor(trainable * fraction));
}

/** The 0-based steps of a trajectory that are trained, in training order: the first ones, or those of a random order. */
export function trainedSteps(options: TimestepOptions): number[] {
  const count = trainedStepCount(options);
  const trainable = options.trainLast ? options.steps : options.steps - 1;
  const order = options.shuffle
    ? randomOrder(trainable, ...options.shuffle)
    : Array.from({ length: count }, (_, i) => i);
  return order.slice(0, count);
}
