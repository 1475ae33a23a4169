/** Bradley-Terry by logistic regression: against scipy, finite differences and a case by hand. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  type ComparedPair,
  chooseStrengths,
  designOf,
  fitHead,
  foldsOf,
  headOf,
  utilityOf,
} from '../../../../grpo/finetune/taste/fit.js';
import { fitLogistic, logLoss, sigmoid } from '../../../../grpo/finetune/taste/logistic.js';
import { random } from '../../../host.js';

interface Oracle {
  readonly strengths: Readonly<Record<string, number>>;
  readonly votes: readonly { left: Record<string, number[]>; right: Record<string, number[]>; target: 0 | 0.5 | 1 }[];
  readonly weights: Readonly<Record<string, number[]>>;
  readonly objective: number;
  readonly difference: { readonly mean: number; readonly variance: number };
}

const oracle = JSON.parse(readFileSync(new URL('../../../fixtures/taste.json', import.meta.url), 'utf8')) as Oracle; // as make_taste_fixtures.py writes it

const featuresOf = (values: Record<string, number[]>) =>
  Object.fromEntries(Object.entries(values).map(([name, each]) => [name, Float64Array.from(each)]));

const votes: ComparedPair[] = oracle.votes.map(({ left, right, target }, i) => ({
  left: featuresOf(left),
  right: featuresOf(right),
  target,
  pair: `${i}`,
}));

/** Both sides stop where a step changes nothing that a double holds but its last digits. */
const tolerance = 1e-10;

test('weights, utilities and what is not known are what scipy finds in the primal form', () => {
  const design = designOf(votes);
  expect(design.groups.map(({ name }) => name)).toEqual(['plain', 'last']);
  const head = headOf(
    design,
    design.groups.map(({ name }) => oracle.strengths[name]!),
  );
  for (const { name, weights } of head.groups) {
    expect(weights.length).toBe(oracle.weights[name]!.length);
    for (const [i, weight] of weights.entries())
      expect(Math.abs(weight - oracle.weights[name]![i]!)).toBeLessThan(tolerance);
  }
  const [a, b] = [votes[0]!.left, votes.at(-1)!.right];
  const found = head.difference(a, b);
  expect(Math.abs(found.mean - oracle.difference.mean)).toBeLessThan(tolerance);
  expect(Math.abs(found.variance - oracle.difference.variance)).toBeLessThan(tolerance);
  const utility = utilityOf(head.groups, a) - utilityOf(head.groups, b);
  expect(Math.abs(utility - oracle.difference.mean)).toBeLessThan(tolerance);
});

test('the objective has no slope at its minimum, and the slope of logLoss is sigmoid(x) - target', () => {
  const h = 1e-5;
  for (const target of [0, 0.5, 1]) {
    for (const x of [-30, -2, 0, 0.5, 40]) {
      const slope = (logLoss(x + h, target) - logLoss(x - h, target)) / (2 * h);
      expect(Math.abs(slope - (sigmoid(x) - target))).toBeLessThan(1e-8);
    }
  }
  const values = Float64Array.of(2, 0.5, 0.5, 1);
  const kernel = { size: 2, values };
  const fit = fitLogistic(kernel, [1, 0.5]);
  const objective = ([a, b]: readonly [number, number]): number => {
    const f = [2 * a + 0.5 * b, 0.5 * a + b] as const;
    return logLoss(f[0], 1) + logLoss(f[1], 0.5) + (a * f[0] + b * f[1]) / 2;
  };
  const [a, b] = [fit.dual[0]!, fit.dual[1]!];
  expect(fit.objective).toBeCloseTo(objective([a, b]), 14);
  for (const [da, db] of [
    [h, 0],
    [0, h],
  ] as const)
    expect(Math.abs(objective([a + da, b + db]) - objective([a - da, b - db])) / (2 * h)).toBeLessThan(1e-9);
});

test('one vote by hand: w = strength (1 - sigmoid(w d)) d', () => {
  // A feature of -1 and 1 has the deviation 1, so d = 2; the strength 1/2 gives w = 1 - sigmoid(2 w), w = 0.337416.
  const one: ComparedPair = {
    left: { plain: Float64Array.of(1) },
    right: { plain: Float64Array.of(-1) },
    target: 1,
    pair: 'a',
  };
  const weight = headOf(designOf([one]), [0.5]).groups[0]!.weights[0]!;
  expect(weight).toBeCloseTo(1 - 1 / (1 + Math.exp(-2 * weight)), 14);
  expect(weight).toBeCloseTo(0.337416, 6);
  // Half a vote each way is no preference; so are two votes against one another.
  expect(headOf(designOf([{ ...one, target: 0.5 }]), [0.5]).groups[0]!.weights[0]).toBe(0);
  const both = headOf(designOf([one, { ...one, target: 0 }]), [0.5]).groups[0]!.weights[0]!;
  expect(Math.abs(both)).toBeLessThan(1e-15);
});

test('votes on one pair are held out together, and the same votes give the same bits', () => {
  const numbers = [0, 1, 1, 2, 3, 4, 5, 0];
  const folds = foldsOf([0, 1, 2, 3, 4, 5, 6, 7], numbers);
  expect(folds).toEqual([[0, 6, 7], [1, 2], [3], [4], [5]]);
  const weights = () => fitHead(votes).groups.map((group) => [...group.weights]);
  expect(weights()).toEqual(weights());
});

test('a group that foretells votes gets a strength, and one of noise gets none', () => {
  const chance = random([80, 2, 36], 3).data;
  const featuresAt = (vote: number, side: number) => {
    const row = chance.subarray(36 * (2 * vote + side), 36 * (2 * vote + side + 1));
    return { plain: row.slice(0, 6), early: row.slice(6) };
  };
  const made = Array.from({ length: 80 }, (_, i): ComparedPair => {
    const [left, right] = [featuresAt(i, 0), featuresAt(i, 1)];
    return { left, right, target: left.plain[2]! > right.plain[2]! ? 1 : 0, pair: `${i}` };
  });
  const design = designOf(made);
  const all = made.map((_, i) => i);
  const [plain, early] = chooseStrengths(design, all);
  expect(plain).toBeGreaterThan(0);
  expect(early).toBe(0);
  // Votes that go by another group alone: it comes in, although it is not the first.
  const other = designOf(
    made.map((vote) => ({ ...vote, target: vote.left.early![3]! > vote.right.early![3]! ? 1 : 0 })),
  );
  expect(chooseStrengths(other, all)[1]).toBeGreaterThan(0);
  // Votes that alternate have nothing to do with the features: nothing is better than knowing nothing.
  expect(chooseStrengths({ ...design, targets: made.map((_, i) => i % 2) }, all)).toEqual([0, 0]);
});
