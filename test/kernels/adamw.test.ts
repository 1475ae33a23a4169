import { expect, test } from 'vitest';
import { planAdamW, planAdamWStep, planSquareSum, squareSumChunks } from '../../kernels/adamw.js';

test('a parameter of any size has enough lanes, four elements each where they divide', () => {
  const options = { betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0 } as const;
  expect(planAdamW(1024, options)).toMatchObject({ params: { count: 256 }, grid: [1, 1, 1] });
  expect(planAdamW(1025, options)).toMatchObject({ params: { count: 1025 }, grid: [5, 1, 1] });
  expect(planAdamW(400_000_000, options).grid).toEqual([65_105, 6, 1]);
});

test('square sums take one partial for each 16,384 elements, from their own place on', () => {
  expect([1, 16_384, 16_385].map(squareSumChunks)).toEqual([1, 1, 2]);
  expect(planSquareSum(16_388, 7)).toMatchObject({ params: { count: 4097, chunks: 2, start: 7 }, grid: [2, 1, 1] });
});

test('without a limit the gradients are not clipped', () => {
  expect(planAdamWStep(3, [0.9, 0.999]).params.clips).toBe(0);
  expect(planAdamWStep(3, [0.9, 0.999], 0.5).params).toMatchObject({ clips: 1, max_norm: 0.5 });
});
