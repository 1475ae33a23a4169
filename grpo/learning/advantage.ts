/** Advantages of a group's samples from their final rewards (GRPO; Pro-GRPO eq. 5 and 18). */
import { check } from '../../engine/errors.js';

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

export interface AdvantageOptions {
  /** Added to the deviation. Default 1e-4: Flow-GRPO's. */
  readonly eps?: number;
  /** Advantages are clamped to plus and minus this. Default 5. */
  readonly max?: number;
  /** The deviation of all groups' rewards together instead of each group's own; the mean stays the group's. Default false. */
  readonly globalStd?: boolean;
  /** 1 divides by n - 1, as DanceGRPO does. Default 0: the population's deviation. */
  readonly correction?: 0 | 1;
}

/**
 * Advantages (R - mean) / (std + eps) of the samples of each group, with the group's mean, clamped. A group of one, or of
 * equal rewards, has advantages 0. A reward that is not finite has advantage 0 and counts in no mean or deviation.
 */
export function groupAdvantages(
  groups: readonly (readonly number[])[],
  { eps = 1e-4, max = 5, globalStd = false, correction = 0 }: AdvantageOptions = {},
): number[][] {
  check(eps >= 0 && max > 0, `advantages: expected eps >= 0 and max > 0, found ${eps} and ${max}`);
  const finite = groups.map((rewards) => rewards.filter(Number.isFinite));
  const all = globalStd ? momentsOf(finite.flat(), correction).std : undefined;
  return groups.map((rewards, g) => {
    const own = momentsOf(finite[g]!, correction);
    const moments = { mean: own.mean, std: all ?? own.std };
    return rewards.map((reward) =>
      Number.isFinite(reward) ? Math.min(Math.max(standardise(reward, moments, eps), -max), max) : 0,
    );
  });
}
