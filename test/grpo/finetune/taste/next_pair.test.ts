/** Which pair is asked about: the least sure one of one prompt, every other time. */
import { expect, test } from 'vitest';
import { designOf, headOf } from '../../../../grpo/finetune/taste/fit.js';
import { nextPair } from '../../../../grpo/finetune/taste/next_pair.js';

const featuresOf = (x: number) => ({ plain: Float64Array.of(x) });
const candidates = (prompts: string, xs: readonly number[]) =>
  xs.map((x, i) => ({ prompt: prompts[i]!, features: featuresOf(x) }));
/** One feature, of which more is liked. */
const vote = { left: featuresOf(1), right: featuresOf(-1), target: 1, pair: 'a' } as const;
const taste = headOf(designOf([vote]), [1]);

test('it is the pair whose difference is nearest to 0 for its deviation, given the votes', () => {
  const three = headOf(
    designOf([
      { ...vote, left: { plain: Float64Array.of(1, 0) }, right: { plain: Float64Array.of(-1, 0) } },
      {
        ...vote,
        left: { plain: Float64Array.of(0, 1) },
        right: { plain: Float64Array.of(0, -1) },
        target: 0.5,
        pair: 'b',
      },
    ]),
    [1],
  );
  const seen = [
    [2, 0],
    [0, 0],
    [0, 1],
    [-2, 3],
  ].map((plain) => ({ prompt: 'a', features: { plain: Float64Array.from(plain) } }));
  // The first feature is liked and the second is not known of: of 1 and 2 the difference is exactly 0.
  expect(three.difference(seen[1]!.features, seen[2]!.features).mean).toBe(0);
  expect(nextPair(three, seen)).toEqual([1, 2]);
  const sureness = ([i, j]: readonly [number, number]): number => {
    const { mean, variance } = three.difference(seen[i]!.features, seen[j]!.features);
    return Math.abs(mean) / Math.sqrt(variance);
  };
  for (const other of [
    [0, 1],
    [0, 2],
    [0, 3],
    [1, 3],
    [2, 3],
  ] as const)
    expect(sureness(other)).toBeGreaterThan(sureness([1, 2]));
});

test('pictures of two prompts make no pair, and without a taste or after an odd number of votes it is the first pair', () => {
  const mixed = candidates('abba', [0, 0, 5, 9]);
  expect(nextPair(undefined, mixed)).toEqual([0, 3]);
  expect(nextPair(taste, mixed, { votes: 21 })).toEqual([0, 3]);
  expect([
    [0, 3],
    [1, 2],
  ]).toContainEqual(nextPair(taste, mixed, { votes: 20 }));
  // A taste without strength has no doubt either, and still there is a pair.
  expect(nextPair(headOf(designOf([vote]), [0]), mixed)).toEqual([0, 3]);
  expect(() => nextPair(taste, candidates('ab', [0, 1]))).toThrow('rate: expected two pictures of one prompt');
});
