/** The subset of largest variance against exact enumeration (test/fixtures/grpo/ovf.json), and its guards. */
import { describe, expect, test } from 'vitest';
import { extremes, optimalVarianceSubset, uniformSubset } from '../../../grpo/rollout/variance_filter.js';
import { readRecorded } from '../../recorded_fixture.js';

interface Case {
  readonly name: string;
  readonly args: { readonly rewards: readonly number[]; readonly k: number };
  /** All maximisers, unless there are more than 64 (then optimal_count is the true number, or null). */
  readonly optimal_subsets: readonly (readonly number[])[];
  readonly optimal_count: number | null;
  readonly max_variance: number;
  /** How many of the lowest and of the highest rewards make up one maximiser. */
  readonly n_low: number;
  readonly n_high: number;
  readonly mean_of_selected: number;
  readonly tol: { readonly variance_rel: number };
}

const fixture = readRecorded<{ readonly cases: readonly Case[] }>('grpo/ovf');
const { cases } = fixture.value;

/** Population variance in two passes about the first value, where a large common offset cancels exactly. */
function variance(values: readonly number[]): number {
  const shifted = values.map((value) => value - values[0]!);
  const mean = shifted.reduce((sum, value) => sum + value, 0) / shifted.length;
  return shifted.reduce((sum, value) => sum + (value - mean) ** 2, 0) / shifted.length;
}

const pick = (rewards: readonly number[], kept: readonly number[]): number[] => kept.map((i) => rewards[i]!);

describe('the subset of largest variance', () => {
  test('there are as many cases as the reference has', () => expect(cases).toHaveLength(86));

  for (const expected of cases) {
    const { name, args, optimal_subsets, optimal_count, max_variance, tol } = expected;
    test(name, () => {
      const kept = optimalVarianceSubset(args.rewards, args.k);
      expect(kept).toHaveLength(args.k);
      expect([...new Set(kept)].sort((a, b) => a - b)).toEqual(kept);
      const found = variance(pick(args.rewards, kept));
      expect(Math.abs(found - max_variance)).toBeLessThanOrEqual(tol.variance_rel * max_variance + 1e-30);
      if (optimal_count === optimal_subsets.length) expect(optimal_subsets).toContainEqual(kept);
      const sorted = [...args.rewards].sort((a, b) => a - b);
      const ends = [...sorted.slice(0, expected.n_low), ...sorted.slice(args.rewards.length - expected.n_high)];
      expect(Math.abs(variance(ends) - found)).toBeLessThanOrEqual(tol.variance_rel * found + 1e-30);
      const mean = pick(args.rewards, kept).reduce((sum, value) => sum + value / args.k, 0);
      const largest = Math.max(...sorted.map(Math.abs));
      if (optimal_count === 1)
        expect(Math.abs(mean - expected.mean_of_selected)).toBeLessThanOrEqual(1e-15 * args.k * largest);
    });
  }

  test('it is the best of all subsets of integers with many ties, and a prefix and a suffix', () => {
    let state = 1;
    for (let trial = 0; trial < 200; trial++) {
      const rewards = Array.from({ length: 9 }, () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return (state >>> 8) % 5;
      });
      const count = 1 + (trial % 9);
      let best = 0;
      for (let mask = 0; mask < 512; mask++) {
        const subset = rewards.filter((_, i) => (mask >> i) & 1);
        if (subset.length === count) best = Math.max(best, variance(subset));
      }
      expect(variance(pick(rewards, optimalVarianceSubset(rewards, count)))).toBeCloseTo(best, 12);
    }
  });

  test('scale and offset do not change it', () => {
    const rewards = cases.find(({ name }) => name.startsWith('funnel_n48_k24'))!.args.rewards;
    const kept = optimalVarianceSubset(rewards, 24);
    for (const scale of [1e-200, 1e-3, 1e3, 1e200])
      expect(
        optimalVarianceSubset(
          rewards.map((reward) => scale * reward),
          24,
        ),
      ).toEqual(kept);
    const steps = [3, 1, 4, 1, 5, 9, 2, 6];
    const near = optimalVarianceSubset(steps, 4);
    expect(
      optimalVarianceSubset(
        steps.map((step) => 1e12 + step),
        4,
      ),
    ).toEqual(near);
  });

  test('rewards that are not finite are refused: a group takes its lost samples out before it selects', () => {
    const expected = 'expected finite rewards, found NaN at 1';
    expect(() => optimalVarianceSubset([0, Number.NaN, 1], 2)).toThrow(`optimalVarianceSubset: ${expected}`);
    expect(() => extremes([0, Number.NaN, 1], 1, 1)).toThrow(`extremes: ${expected}`);
  });

  test('equal rewards go by index', () => {
    expect(optimalVarianceSubset([2, 2, 2, 2], 2)).toEqual([0, 1]);
    expect(optimalVarianceSubset(new Float32Array([0, 1, 0, 1]), 4)).toEqual([0, 1, 2, 3]);
    expect(optimalVarianceSubset([1, 2], 0)).toEqual([]);
  });

  test('more than there are, and parts of a sample, are refused', () => {
    expect(() => optimalVarianceSubset([1, 2], 3)).toThrow('expected to keep 0 to 2 of 2 samples, found 3');
    expect(() => optimalVarianceSubset([1, 2], 0.5)).toThrow('found 0.5');
  });
});

describe('a uniform subset', () => {
  test('is fixed by its seeds, and any of them changes it', () => {
    expect(uniformSubset(24, 12, 1, 2, 3)).toEqual(uniformSubset(24, 12, 1, 2, 3));
    const others = [uniformSubset(24, 12, 1, 2, 4), uniformSubset(24, 12, 0, 2, 3), uniformSubset(24, 12, 1, 2)];
    for (const other of others) expect(other).not.toEqual(uniformSubset(24, 12, 1, 2, 3));
    expect(uniformSubset(5, 5, 7)).toEqual([0, 1, 2, 3, 4]);
    expect(() => uniformSubset(3, 4, 7)).toThrow('uniformSubset: expected to keep 0 to 3');
  });

  test('keeps every sample, and every pair, equally often', () => {
    const [size, count, draws] = [6, 3, 6000];
    const singles = Array(size).fill(0);
    const pairs = new Map<string, number>();
    for (let seed = 0; seed < draws; seed++) {
      const kept = uniformSubset(size, count, 42, seed);
      for (const [place, i] of kept.entries()) {
        singles[i]++;
        for (const j of kept.slice(place + 1)) pairs.set(`${i},${j}`, (pairs.get(`${i},${j}`) ?? 0) + 1);
      }
    }
    const expectNear = (found: number, share: number): void =>
      expect(Math.abs(found - draws * share)).toBeLessThan(5 * Math.sqrt(draws * share * (1 - share)));
    for (const found of singles) expectNear(found, 1 / 2);
    expect(pairs.size).toBe(15);
    for (const found of pairs.values()) expectNear(found, 1 / 5);
  });
});

test('the lowest and highest of a group', () => {
  expect(extremes([5, 1, 4, 2, 3], 1, 2)).toEqual([0, 1, 2]);
  expect(extremes([0, 0, 0], 1, 1)).toEqual([0, 2]);
  expect(() => extremes([1], 1, 1)).toThrow('extremes: expected to keep 0 to 1 of 1 samples, found 2');
});

fixture.done();
