import { expect, test } from 'vitest';
import { trainedStepCount, trainedSteps } from '../../../grpo/learning/timesteps.js';

test('the first steps are trained, and not the last unless asked', () => {
  expect(trainedSteps({ steps: 10 })).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  expect(trainedSteps({ steps: 3 }, { train_last_step: true })).toEqual([0, 1, 2]);
  expect(trainedStepCount({ steps: 50 })).toBe(49);
});

test('a fraction is of the trainable steps, rounded down, and at least one', () => {
  expect(trainedStepCount({ steps: 16 }, { timestep_fraction: 0.6 })).toBe(9); // DanceGRPO on FLUX
  expect(trainedStepCount({ steps: 10 }, { timestep_fraction: 0.5, train_last_step: true })).toBe(5);
  expect(trainedSteps({ steps: 10 }, { timestep_fraction: 0.01 })).toEqual([0]);
});

test('each trajectory has its own random order, which its numbers fix', () => {
  const sampler = { steps: 50 };
  const grpo = { timestep_fraction: 0.5, shuffle_timesteps: true };
  const steps = trainedSteps(sampler, grpo, [7, 1]);
  expect(steps).toEqual(trainedSteps(sampler, grpo, [7, 1]));
  expect(steps).toHaveLength(24);
  expect(new Set(steps).size).toBe(24);
  expect(Math.max(...steps)).toBeLessThanOrEqual(48);
  expect(trainedSteps(sampler, grpo, [7, 2])).not.toEqual(steps);
  const all = trainedSteps(sampler, { shuffle_timesteps: true }, [7, 1]);
  expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 49 }, (_, i) => i));
});

test('nothing to train is refused', () => {
  expect(() => trainedSteps({ steps: 1 })).toThrow('expected 2 steps or more, found 1');
  expect(trainedSteps({ steps: 1 }, { train_last_step: true })).toEqual([0]);
  expect(() => trainedSteps({ steps: 10 }, { timestep_fraction: 0 })).toThrow(
    'expected a fraction above 0 and up to 1, found 0',
  );
  expect(() => trainedSteps({ steps: 10 }, { timestep_fraction: 1.5 })).toThrow('found 1.5');
});
