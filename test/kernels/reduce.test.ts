import { expect, test } from 'vitest';
import type { Features } from '../../kernels/kernel.js';
import { axisView, planReduce, reducedViews } from '../../kernels/reduce.js';
import { planSoftmax } from '../../kernels/softmax.js';

const cpu: Features = {
  f16: true,
  subgroups: true,
  subgroupSize: 8,
  subgroupMatrix: null,
  timestamps: true,
  software: true,
};
const gpu: Features = { ...cpu, subgroupSize: 32, software: false };

test('neighbouring reduced axes are one pass, innermost first', () => {
  expect(reducedViews([2, 3, 4, 5], [2, 3])).toEqual([{ outer: 6, length: 20, inner: 1 }]);
  expect(reducedViews([2, 3, 4, 5], [0, 2, 3])).toEqual([
    { outer: 6, length: 20, inner: 1 },
    { outer: 1, length: 2, inner: 3 },
  ]);
  expect(reducedViews([2, 3, 4], [1])).toEqual([{ outer: 2, length: 3, inner: 4 }]);
});

test('axes of size 1 need no pass, and nothing to reduce needs one that copies', () => {
  expect(reducedViews([2, 1, 4], [1, 2])).toEqual([{ outer: 2, length: 4, inner: 1 }]);
  expect(reducedViews([2, 1, 4], [1])).toEqual([{ outer: 1, length: 1, inner: 8 }]);
  expect(reducedViews([], [])).toEqual([{ outer: 1, length: 1, inner: 1 }]);
});

test('a long sum takes several passes, and only the last one scales and rounds to f16', () => {
  const passes = planReduce('sum', { shape: [1 << 23], dtype: 'f16' }, [0], cpu, 0.5);
  expect(passes.map(({ size, dtype }) => ({ size, dtype }))).toEqual([
    { size: 4096, dtype: 'f32' },
    { size: 2, dtype: 'f32' },
    { size: 1, dtype: 'f16' },
  ]);
  expect(passes.map(({ plan }) => plan.params.scale)).toEqual([1, 1, 0.5]);
});

test('the order of a sum does not depend on how many rows or samples there are', () => {
  for (const features of [cpu, gpu]) {
    for (const [axes, rest] of [
      [[1], [100]],
      [[1], [5000]],
      [[1], [300, 8]],
      [[2], [7, 33]],
    ] as const) {
      const orders = [1, 2, 64, 4097].map((batch) =>
        planReduce('sum', { shape: [batch, ...rest], dtype: 'f32' }, axes, features).map(({ plan }) => {
          const { length, chunk, chunks, inner } = plan.params;
          return { variant: plan.variant, length, chunk, chunks, inner };
        }),
      );
      for (const order of orders) expect(order).toEqual(orders[0]);
    }
  }
});

test('softmax picks its variant by the row alone', () => {
  for (const features of [cpu, gpu]) {
    for (const length of [16, 77, 1024, 5000]) {
      const variants = [1, 3, 5000].map(
        (rows) => planSoftmax(axisView([rows, length], 1), 'f32', false, features).variant,
      );
      for (const variant of variants) expect(variant).toEqual(variants[0]);
    }
  }
});
