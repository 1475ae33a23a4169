/** Which samples of a group are kept: those whose rewards vary most (Pro-GRPO, section 4.2), the lowest and highest, or some at random. */
import { check } from '../../engine/errors.js';
import { randomOrder } from '../random.js';

function checkCount(name: string, count: number, size: number): void {
  check(
    Number.isInteger(count) && count >= 0 && count <= size,
    `${name}: expected to keep 0 to ${size} of ${size} samples, found ${count}`,
  );
}

const ascending = (indices: readonly number[]): number[] => [...indices].sort((a, b) => a - b);

/** Indices by rising reward. The sort is stable: equal rewards stay in order. */
function byReward(name: string, rewards: ArrayLike<number>): number[] {
  const indices = Array.from(rewards, (reward, i) => {
    check(Number.isFinite(reward), `${name}: expected finite rewards, found ${reward} at ${i}`);
    return i;
  });
  return indices.sort((a, b) => rewards[a]! - rewards[b]!);
}

/**
 * Optimal variance filtering: the `count` samples whose rewards have the largest population variance (Pro-GRPO, eq. 10 and
 * 17), as ascending indices. The variance is convex in each reward, so the best subset is the lowest and the highest
 * rewards with a gap between them; all count + 1 places of the gap are tried, in O(n log n). Among equal rewards and equal
 * variances the choice goes by index. Refuses a reward that is not finite.
 */
export function optimalVarianceSubset(rewards: ArrayLike<number>, count: number): number[] {
  checkCount('optimalVarianceSubset', count, rewards.length);
  const indices = byReward('optimalVarianceSubset', rewards);
  if (count === indices.length) return ascending(indices);
  const low = bestPrefix(
    indices.map((i) => rewards[i]!),
    count,
  );
  return ascending([...indices.slice(0, low), ...indices.slice(indices.length - (count - low))]);
}

/** How many of the `count` kept should be the lowest of the sorted rewards, the rest being the highest. */
function bestPrefix(sorted: readonly number[], count: number): number {
  // Differences from the middle, in units of the spread: sums of squares that neither cancel nor overflow.
  const middle = sorted[sorted.length >> 1]!;
  const spread = sorted.at(-1)! - sorted[0]! || 1;
  const values = sorted.map((reward) => (reward - middle) / spread);
  let [sum, squares] = [0, 0];
  const add = (value: number, sign: 1 | -1): void => {
    sum += sign * value;
    squares += sign * value * value;
  };
  for (const value of values.slice(0, count)) add(value, 1);
  let best = { low: count, variance: squares - (sum * sum) / count };
  for (let low = count - 1; low >= 0; low--) {
    add(values[low]!, -1);
    add(values[values.length - (count - low)]!, 1);
    const variance = squares - (sum * sum) / count; // times count
    if (variance > best.variance) best = { low, variance };
  }
  return best.low;
}

/**
 * The `low` lowest and `high` highest rewards as ascending indices: best-of-n as DanceGRPO has it, with low = high (Xue et al.
 * 2025). Equal rewards go by index. Refuses a reward that is not finite.
 */
export function extremes(rewards: ArrayLike<number>, low: number, high: number): number[] {
  checkCount('extremes', low + high, rewards.length);
  const indices = byReward('extremes', rewards);
  return ascending([...indices.slice(0, low), ...indices.slice(indices.length - high)]);
}

/** `count` of `size` samples, drawn without regard to their rewards: the seeds fix which. Ascending indices. */
export function uniformSubset(size: number, count: number, ...seeds: readonly number[]): number[] {
  checkCount('uniformSubset', count, size);
  return ascending(randomOrder(size, ...seeds).slice(0, count));
}
