import { describe, expect, test } from 'vitest';
import type { Features } from '../../kernels/kernel.js';
import { chooseMatmulKernel, type MatmulProblem, planMatmul, planRowRanges } from '../../kernels/matmul.js';

const lavapipe: Features = {
  f16: true,
  subgroups: true,
  subgroupSize: 8,
  subgroupMatrix: null,
  timestamps: true,
  software: true,
};
const gpu: Features = { ...lavapipe, subgroupSize: 32, software: false };
const problem: MatmulProblem = { m: 64, n: 320, k: 320, a: 'f32', b: 'f32', y: 'f32' };

describe('the choice of a kernel', () => {
  test('a software adapter with subgroups of one size takes the subgroup kernel, others the tiled one', () => {
    expect(chooseMatmulKernel(lavapipe, problem)).toBe('matmul_subgroup');
    expect(chooseMatmulKernel({ ...lavapipe, subgroups: false, subgroupSize: 0 }, problem)).toBe('matmul_tiled');
    expect(chooseMatmulKernel(gpu, problem)).toBe('matmul_tiled');
  });

  test('subgroup matrices are for products of f16 alone, as they round their operands to it', () => {
    const tensorCores = { ...gpu, subgroupMatrix: 'native' } as const;
    const halves = { a: 'f16', b: 'f16' } as const;
    expect(chooseMatmulKernel(tensorCores, halves)).toBe('matmul_subgroup_matrix');
    expect(chooseMatmulKernel(tensorCores, { ...halves, a: 'f32' })).toBe('matmul_tiled');
    expect(chooseMatmulKernel(gpu, halves)).toBe('matmul_tiled');
  });

  test('tuning overrides it, where the kernel runs', () => {
    expect(chooseMatmulKernel(gpu, problem, { kernel: 'matmul_subgroup' })).toBe('matmul_subgroup');
    const none = { ...lavapipe, subgroups: false, subgroupSize: 0 };
    expect(() => chooseMatmulKernel(none, problem, { kernel: 'matmul_subgroup' })).toThrow('does not run here');
  });

  test('kernel and variant depend neither on m nor on the batch', () => {
    for (const features of [lavapipe, gpu]) {
      for (const transposeB of [false, true]) {
        for (const n of [320, 321]) {
          const { kernel, variant } = planMatmul({ ...problem, n, transposeB }, features);
          for (const m of [1, 2, 7, 64, 4097]) {
            expect(planMatmul({ ...problem, n, m, transposeB }, features)).toMatchObject({ kernel, variant });
            const batch = { a: [m], b: [m], y: [m] };
            expect(planMatmul({ ...problem, n, batch, transposeB }, features)).toMatchObject({ kernel, variant });
          }
        }
      }
    }
  });

  test('a saved pre-activation takes the same pipeline, as its value must be the same bits', () => {
    const epilogue = { ...problem, bias: 'f32', activation: 'silu' } as const;
    const { variant, params } = planMatmul({ ...epilogue, savePreactivation: true }, lavapipe);
    expect(variant).toEqual(planMatmul(epilogue, lavapipe).variant);
    expect(params.save_preactivation).toBe(1);
  });

  test('sizes are no part of the variant, so shapes of one kind share a pipeline', () => {
    expect(planMatmul({ ...problem, n: 1280, k: 64 }, lavapipe).variant).toEqual(planMatmul(problem, lavapipe).variant);
  });
});

describe('the grid', () => {
  test('counts row tiles, column tiles and matrices', () => {
    const batch = { a: [3], b: [3], y: [3] };
    expect(planMatmul({ ...problem, m: 25, n: 36, batch }, lavapipe).grid).toEqual([2 * 2 * 3, 1, 1]);
    expect(planMatmul({ ...problem, m: 65, n: 64, batch }, gpu).grid).toEqual([2 * 1 * 3, 1, 1]);
  });

  test('is split when it is larger than a dimension allows', () => {
    const { grid } = planMatmul({ ...problem, m: 24 * 70_000, n: 4 }, lavapipe);
    expect(grid).toEqual([35_000, 2, 1]);
  });
});

describe('strides of the batch', () => {
  const strides = (a: number[], b: number[], y: number[]): Record<string, number> =>
    planMatmul({ ...problem, m: 4, n: 8, k: 12, batch: { a, b, y } }, lavapipe).params;

  test('are 0 along axes that an input repeats', () => {
    expect(strides([3], [1], [3])).toMatchObject({ batch: 3, batch_inner: 3, a_inner: 48, b_inner: 0 });
    expect(strides([2, 1], [3], [2, 3])).toMatchObject({
      batch: 6,
      batch_inner: 3,
      a_inner: 0,
      a_outer: 48,
      b_inner: 96,
      b_outer: 0,
    });
  });

  test('three alternating axes are refused', () => {
    expect(() => strides([2, 1, 2], [1, 3, 1], [2, 3, 2])).toThrow('merge into 3, 2 at most');
  });
});

describe('ranges of a weight', () => {
  test('a weight that fits is one range', () => {
    expect(planRowRanges(10, 12, 120, 16)).toEqual([{ start: 0, rows: 10 }]);
  });

  test('ranges start at aligned bytes and whole blocks of four rows, fit a binding and cover all rows', () => {
    for (const [rows, rowBytes, limit, alignment] of [
      [37, 20, 256, 16],
      [37, 6, 129, 32],
      [1000, 1280, 100_000, 256],
    ] as const) {
      const ranges = planRowRanges(rows, rowBytes, limit, alignment);
      expect(ranges.length).toBeGreaterThan(1);
      let next = 0;
      for (const { start, rows: count } of ranges) {
        expect(start).toBe(next);
        expect((start * rowBytes) % alignment).toBe(0);
        expect(start % 4).toBe(0);
        expect(count * rowBytes).toBeLessThanOrEqual(limit);
        next += count;
      }
      expect(next).toBe(rows);
    }
  });

  test('rows too long for a binding are refused', () => {
    expect(() => planRowRanges(8, 1000, 1000, 16)).toThrow('4 rows of 1000 bytes do not fit');
  });
});
