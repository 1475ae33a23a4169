import { expect, test } from 'vitest';
import { gaussianChunks, planGaussianLogProb } from '../../kernels/gaussian_step.js';
import { kernelKey } from '../../kernels/kernel.js';

test('the log probability of a sample is cut into the same chunks in every batch', () => {
  expect(gaussianChunks(65_536)).toBe(16);
  for (const samples of [1, 24]) {
    const plan = planGaussianLogProb(samples, 65_536);
    expect(plan.grid).toEqual([16 * samples, 1, 1]);
    expect(kernelKey(plan)).toBe(kernelKey(planGaussianLogProb(2, 65_536)));
  }
});
