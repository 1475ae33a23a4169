import { expect, test } from 'vitest';
import {
  estimateDifference,
  estimateMean,
  evaluate,
  evaluationJobs,
  PictureSampler,
  studentQuantile,
} from '../../grpo/evaluate.js';
import { testDevice } from '../check.js';
import { brightness, loadTiny, tinyPrompts } from './tiny.js';

const device = await testDevice();

test("Student's quantiles are those of the tables", () => {
  const table = { 1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 10: 2.228, 30: 2.042, 63: 1.998, 1000: 1.962 };
  for (const [degrees, value] of Object.entries(table))
    expect(Math.abs(studentQuantile(Number(degrees)) / value - 1), degrees).toBeLessThan(1e-3);
});

test('a mean and its interval, by hand', () => {
  const { mean, low, high, std, count } = estimateMean([1, 2, 3, 4, 5]);
  expect([mean, count]).toEqual([3, 5]);
  expect(std).toBeCloseTo(Math.sqrt(2.5), 12);
  expect(high - mean).toBeCloseTo((2.776445 * Math.sqrt(2.5)) / Math.sqrt(5), 2);
  expect(low).toBeCloseTo(6 - high, 12);
  expect(estimateMean([4]).high).toBe(Number.POSITIVE_INFINITY);
});

test('a difference is that of pairs: what the prompts differ by plays no part', () => {
  const before = [0, 10, 20, 30, 40];
  const found = estimateDifference(
    before,
    before.map((value, i) => value + 1 + 0.1 * (i % 2)),
  );
  expect(found.mean).toBeCloseTo(1.04, 12);
  expect(found.low).toBeGreaterThan(0.9);
  expect(() => estimateDifference([1], [1, 2])).toThrow('difference: 1 scores before, 2 after');
});

test.each([undefined, { noise: 0.7 }])(
  'an evaluation is the same whatever the batch, and again: %o',
  async (stochastic) => {
    const model = await loadTiny(device, 'sd3');
    const jobs = evaluationJobs(tinyPrompts, 5, 3);
    expect(new Set(jobs.map(({ seed }) => seed)).size).toBe(5);
    const rewards = brightness();
    const found = [];
    for (const batch of [2, 2, 5]) {
      const sampler = await PictureSampler.create(model, { steps: 3, guidance: 2, stochastic, batch });
      const { scores, pictures } = await evaluate(sampler, rewards, jobs);
      expect(pictures.map(({ prompt }) => prompt)).toEqual(jobs.map(({ prompt }) => prompt.prompt));
      found.push(scores.brightness);
      sampler.dispose();
    }
    expect(found[0]!.length).toBe(5);
    expect(new Set(found[0]).size).toBe(5);
    expect(found[1]).toEqual(found[0]);
    expect(found[2]).toEqual(found[0]);
    model.dispose();
  },
);
