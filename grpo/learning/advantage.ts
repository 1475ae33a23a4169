/** Advantages of a group's samples from their final rewards (GRPO; Pro-GRPO eq. 5 and 18). */
import { check } from '../../engine/errors.js';
import type { GrpoConfig } from '../config.js';

/** Mean and standard deviation, in double precision. */
export interface Moments {
  readonly mean: number;
  readonly std: number;
}

/**
 * Mean and deviation sqrt(sum((x - mean)^2) / (n - correction)), in two passes; equal values have deviation 0 exactly, not
 * their mean's rounding. Deviation 0 too where n - correction is 0.
 */
export function momentsOf(values: readonly number[], correction: 0 | 1 = 0): Moments {
  if (values.length === 0) return { mean: 0, std: 0 };
  const first = values[0]!;
  const mean = first + values.reduce((sum, value) => sum + (value - first), 0) / values.length;
  const divisor = Math.max(values.length - correction, 1);
  return { mean, std: Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / divisor) };
}

/** (x - mean) / (std + eps), and 0 where all that the moments are of were equal. */
export const standardise = (value: number, { mean, std }: Moments, eps: number): number =>
  std === 0 ? 0 : (value - mean) / (std + eps);

/**
 * The keys that decide, with defaults of their own: 1e-4 is added to the deviation as in Flow-GRPO, advantages are clamped to
 * plus and minus 5, and deviations are each group's own.
 */
export interface AdvantageOptions
  extends Readonly<Partial<Pick<GrpoConfig, 'advantage_eps' | 'advantage_max' | 'global_std'>>> {
  /** 1 divides by n - 1, as DanceGRPO does. Default 0: the population's deviation. */
  readonly correction?: 0 | 1;
  /** For each group the rewards that its mean and deviation are of. Default: those of its samples. */
  readonly baselines?: readonly (readonly number[])[];
}

/**
 * Advantages (R - mean) / (std + eps) of the samples of each group, with the group's mean, clamped. With `global_std` the
 * deviation is that of all groups' rewards together. A group of one, or of equal rewards, has advantages 0. Refuses a
 * reward that is not finite: lost samples have left their group before.
 */
export function groupAdvantages(
  groups: readonly (readonly number[])[],
  {
    advantage_eps: eps = 1e-4,
    advantage_max: max = 5,
    global_std: globalStd = false,
    correction = 0,
    baselines = groups,
  }: AdvantageOptions = {},
): number[][] {
  check(eps >= 0 && max > 0, `advantages: expected eps >= 0 and max > 0, found ${eps} and ${max}`);
  for (const [g, rewards] of groups.entries()) {
    const wrong = rewards.find((reward) => !Number.isFinite(reward));
    check(wrong === undefined, `advantages: expected finite rewards, found ${wrong} in group ${g}`);
  }
  const all = globalStd ? momentsOf(baselines.flat(), correction).std : undefined;
  return groups.map((rewards, g) => {
    const own = momentsOf(baselines[g]!, correction);
    const moments = { mean: own.mean, std: all ?? own.std };
    return rewards.map((reward) => Math.min(Math.max(standardise(reward, moments, eps), -max), max));
  });
}
