/** Intervals and verdicts, on numbers whose right verdict is known. */
import { expect, test } from 'vitest';
import { pairedDifference, verdictOf } from '../../../grpo/study/statistics.js';
import { randomStream } from '../../../models/scenes/random.js';

test('the interval is that of the seeds, of means over prompts', () => {
  const a = [
    [1, 3],
    [2, 6],
    [4, 4],
  ];
  const b = [
    [0, 2],
    [0, 2],
    [1, 1],
  ];
  // Differences of the seeds: 1, 3, 3; mean 7/3, deviation sqrt(4/3), t(2) = 4.302653.
  const { mean, low, high, count } = pairedDifference(a, b);
  expect(count).toBe(3);
  expect(mean).toBeCloseTo(7 / 3, 12);
  expect(high - mean).toBeCloseTo((4.302653 * Math.sqrt(4 / 3)) / Math.sqrt(3), 6);
  expect(mean - low).toBeCloseTo(high - mean, 12);
});

test('what prompts and seeds differ by does not widen it', () => {
  const random = randomStream(1);
  const b = Array.from({ length: 4 }, () => {
    const seed = 10 * random.normal();
    return Array.from({ length: 8 }, () => seed + 10 * random.normal());
  });
  const { low, high } = pairedDifference(
    b.map((row) => row.map((value) => value + 0.5)),
    b,
  );
  expect(low).toBeCloseTo(0.5, 9);
  expect(high).toBeCloseTo(0.5, 9);
});

test('of one seed nothing is known, and seeds and prompts must pair', () => {
  expect(verdictOf(pairedDifference([[5]], [[0]]))).toBe('open');
  expect(() => pairedDifference([[1]], [[1], [2]])).toThrow('paired difference: 1 seeds and 2, expected as many');
  expect(() => pairedDifference([[1]], [[1, 2]])).toThrow('paired difference: 1 prompts and 2 of a seed');
});

test.each([
  ['holds', 0.1, 0.2, undefined],
  ['open', -0.1, 0.2, undefined],
  ['open', 0, 0.2, undefined],
  ['fails', -0.2, -0.1, undefined],
  ['holds', -0.04, 0.01, 0.05],
  ['open', -0.06, 0.01, 0.05],
  ['open', -0.2, -0.04, 0.05],
  ['fails', -0.2, -0.06, 0.05],
] as const)('%s: from %f to %f, margin %s', (verdict, low, high, margin) => {
  expect(verdictOf({ low, high }, margin)).toBe(verdict);
});

/** Runs of two methods that differ by `effect`: seeds vary by 0.05 in it, pictures by 1, prompts by 3. */
function simulate(seed: number, effect: number, seeds = 6, prompts = 16): [number[][], number[][]] {
  const random = randomStream(seed);
  const prompt = Array.from({ length: prompts }, () => 3 * random.normal());
  const a: number[][] = [];
  const b: number[][] = [];
  for (let s = 0; s < seeds; s++) {
    const own = effect + 0.05 * random.normal();
    a.push(prompt.map((value) => value + own + random.normal()));
    b.push(prompt.map((value) => value + random.normal()));
  }
  return [a, b];
}

test('95 of 100 intervals hold the true difference', () => {
  const studies = 4000;
  let covered = 0;
  for (let i = 0; i < studies; i++) {
    const { low, high } = pairedDifference(...simulate(i, 0.3));
    if (low <= 0.3 && 0.3 <= high) covered++;
  }
  // Three deviations of a share of 0.95 among 4000.
  expect(Math.abs(covered / studies - 0.95)).toBeLessThan(3 * Math.sqrt((0.95 * 0.05) / studies));
});

test('where there is no difference, a claim holds in 2.5 of 100 studies; a large one holds in nearly all', () => {
  const studies = 2000;
  const share = (effect: number): number =>
    Array.from({ length: studies }, (_, i) => verdictOf(pairedDifference(...simulate(i, effect)))).filter(
      (verdict) => verdict === 'holds',
    ).length / studies;
  expect(share(0)).toBeGreaterThan(0.014);
  expect(share(0)).toBeLessThan(0.036);
  expect(share(2)).toBeGreaterThan(0.99);
});
