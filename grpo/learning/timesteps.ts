/** Which steps of a trajectory are trained. */
import { check } from '../../engine/errors.js';
import type { GrpoConfig } from '../config.js';
import { randomOrder } from '../random.js';
import { type WindowConfig, windowSize } from '../sampling/window.js';

/**
 * The keys that decide. Defaults: every step but the last, whose noise is tiny, so that its likelihood is steep (Flow-GRPO and
 * DanceGRPO leave it out, the paper's table 4 counts it), in order.
 */
export type TimestepOptions = Readonly<
  Partial<Pick<GrpoConfig, 'timestep_fraction' | 'train_last_step' | 'shuffle_timesteps'>>
>;

/**
 * How many steps of each trajectory are trained: `timestep_fraction` of the trainable ones, which are the window's where there
 * is one, rounded down, at least one. Throws where there are none, or for a fraction that is not above 0 and up to 1.
 */
export function trainedStepCount(
  sampler: WindowConfig['sampler'],
  { timestep_fraction: fraction = 1, train_last_step: trainLast = false }: TimestepOptions = {},
): number {
  const { steps } = sampler;
  const trainable = windowSize({ sampler, grpo: { train_last_step: trainLast } });
  check(
    Number.isInteger(steps) && trainable >= 1,
    `timesteps: expected ${trainLast ? 1 : 2} steps or more, found ${steps}`,
  );
  check(fraction > 0 && fraction <= 1, `timesteps: expected a fraction above 0 and up to 1, found ${fraction}`);
  return Math.max(1, Math.floor(trainable * fraction));
}

/**
 * The 0-based steps of a trajectory that are trained, in training order: the first ones of the window that begins with the step
 * `start`, or with `shuffle_timesteps` those of a random order that the seeds fix, one for each trajectory, as DanceGRPO has it.
 */
export function trainedSteps(
  sampler: WindowConfig['sampler'],
  grpo: TimestepOptions = {},
  seeds: readonly number[] = [],
  start = 0,
): number[] {
  const count = trainedStepCount(sampler, grpo);
  const trainable = windowSize({ sampler, grpo });
  const order = grpo.shuffle_timesteps ? randomOrder(trainable, ...seeds) : Array.from({ length: count }, (_, i) => i);
  return order.slice(0, count).map((step) => start + step);
}
