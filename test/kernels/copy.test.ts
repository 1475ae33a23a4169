import { expect, test } from 'vitest';
import { mergeBoxAxes, planCopy } from '../../kernels/copy.js';
import { planGather } from '../../kernels/gather.js';
import type { Features } from '../../kernels/kernel.js';

const cpu: Features = {
  f16: true,
  subgroups: true,
  subgroupSize: 8,
  subgroupMatrix: null,
  timestamps: true,
  software: true,
};
const whole = (...strides: number[]) => ({ offset: 0, strides });

test('axes that are one run in both tensors are merged', () => {
  expect(mergeBoxAxes([2, 3, 4], whole(12, 4, 1), whole(12, 4, 1))).toEqual([{ size: 24, x: 1, y: 1 }]);
  expect(mergeBoxAxes([2, 1, 3, 4], whole(12, 12, 4, 1), whole(24, 9, 4, 1))).toEqual([
    { size: 12, x: 1, y: 1 },
    { size: 2, x: 12, y: 24 },
  ]);
  expect(mergeBoxAxes([1, 1], whole(1, 1), whole(1, 1))).toEqual([{ size: 1, x: 1, y: 1 }]);
});

test('the width follows from what both sides allow', () => {
  const variantOf = (...args: [sizes: number[], x: number[], y: number[], offset?: number]) => {
    const [sizes, x, y, offset = 0] = args;
    const { kernel, variant } = planCopy(sizes, { offset, strides: x }, whole(...y), 'f32', cpu);
    return `${kernel} ${variant.types!.X} to ${variant.types!.V}`;
  };
  expect(variantOf([3, 8], [16, 1], [8, 1])).toBe('copy vec4<f32> to vec4<f32>');
  expect(variantOf([3, 8], [16, 1], [8, 1], 2)).toBe('copy f32 to vec4<f32>');
  expect(variantOf([3, 7], [16, 1], [7, 1])).toBe('copy f32 to f32');
  expect(variantOf([3, 8], [1, 3], [8, 1])).toBe('copy f32 to vec4<f32>');
  expect(variantOf([4, 8], [1, 4], [8, 1])).toBe('copy_transpose vec4<f32> to vec4<f32>');
});

test('a table is bound in parts whose offsets the device allows', () => {
  const limits = { bytes: 1000, alignment: 16 };
  const parts = (rows: number): number[][] =>
    planGather({ rows, width: 7, count: 5 }, 'f16', true, limits).map((part) => [part.firstRow, part.rows]);
  expect(parts(71)).toEqual([[0, 71]]); // 994 bytes
  // 64 rows are the most that end at a multiple of 16 bytes.
  expect(parts(150)).toEqual([
    [0, 64],
    [64, 64],
    [128, 22],
  ]);
  const wide = () => planGather({ rows: 2, width: 300, count: 5 }, 'f32', true, limits);
  expect(wide).toThrow('1 rows of 1200 bytes exceed the largest binding, 1000 bytes');
});
