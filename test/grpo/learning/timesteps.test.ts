import { expect, test } from 'vitest';
import { trainedStepCount, trainedSteps } from '../../../grpo/learning/timesteps.js';

test('the first steps are trained, and not the last unless asked', () => {
  expect(trainedSteps({ steps: 10 })).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  expect(trainedSteps({ steps: 3, trainLast: true })).toEqual([0, 1, 2]);
  expect(trainedStepCount({ steps: 50 })).toBe(49);
});

test('a fraction is of the trainable steps, rounded down, and at least one', () => {
  expect(trainedStepCount({ steps: 16, fraction: 0.6 })).toBe(9); // DanceGRPO on FLUX
  expect(trainedStepCount({ steps: 10, fraction: 0.5, trainLast: true })).toBe(5);
  expect(trainedSteps({ steps: 10, fraction: 0.01 })).toEqual([0]);
});

test('each trajectory has its own random order, which its numbers fix', () => {
  const options = { steps: 50, fraction: 0.5, shuffle: [7, 1] };
  const steps = trainedSteps(options);
  expect(steps).toEqual(trainedSteps(options));
  expect(steps).toHaveLength(24);
  expect(new Set(steps).size).toBe(24);
  expect(Math.max(...steps)).toBeLessThanOrEqual(48);
  expect(trainedSteps({ ...options, shuffle: [7, 2] })).not.toEqual(steps);
  const all = trainedSteps({ steps: 50, shuffle: [7, 1] });
  expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 49 }, (_, i) => i));
});

test('nothing to train is refused', () => {
  expect(() => trainedSteps({ steps: 1 })).toThrow('expected 2 steps or more, found 1');
  expect(trainedSteps({ steps: 1, trainLast: true })).toEqual([0]);
  expect(() => trainedSteps({ steps: 10, fraction: 0 })).toThrow('expected a fraction above 0 and up to 1, found 0');
  expect(() => trainedSteps({ steps: 10, fraction: 1.5 })).toThrow('found 1.5');
});
