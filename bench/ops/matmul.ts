/** Matrix products: a bare matmul, linear layers with f32 and f16 weights, and a linear layer's backward. */

import type { Device } from '../../engine/device/device.js';
import { linear } from '../../engine/ops/products/linear.js';
import { matmul } from '../../engine/ops/products/matmul.js';
import { backward } from '../../engine/tensor/tape.js';
import type { DType } from '../../kernels/kernel.js';
import { matmulBenchCases } from '../../test/cases/matmul.js';
import type { BenchCase, Prepared, Reference, ShapeSet } from '../harness.js';
import { input } from './random.js';

interface Gemm {
  readonly set: ShapeSet;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

const shapes: readonly Gemm[] = matmulBenchCases.map(({ bench: set, a, b }) => {
  const [[m, k], [, n]] = [a, b] as [[number, number], [number, number]];
  return { set, m, n, k };
});

/** Element `index` of a row-major product with `n` columns; `a` and `b` say where element (row, k) and (k, column) lie. */
function product(
  n: number,
  k: number,
  a: Float32Array,
  b: Float32Array,
  at: { a: (row: number, i: number) => number; b: (i: number, column: number) => number },
): Reference {
  return (index) => {
    const row = Math.floor(index / n);
    const column = index % n;
    let sum = 0;
    for (let i = 0; i < k; i++) sum += a[at.a(row, i)]! * b[at.b(i, column)]!;
    return sum;
  };
}

function prepareMatmul(device: Device, { m, n, k }: Gemm): Prepared {
  const a = input(device, [m, k], 1);
  const b = input(device, [k, n], 2);
  const at = { a: (row: number, i: number) => row * k + i, b: (i: number, column: number) => i * n + column };
  return { body: () => [matmul(a.tensor, b.tensor)], references: [product(n, k, a.values, b.values, at)] };
}

function prepareLinear(device: Device, { m, n, k }: Gemm, dtype: DType): Prepared {
  const x = input(device, [m, k], 1);
  const weight = input(device, [n, k], 2, { dtype, scale: k ** -0.5 });
  const bias = input(device, [n], 3);
  const at = { a: (row: number, i: number) => row * k + i, b: (i: number, column: number) => column * k + i };
  const reference = product(n, k, x.values, weight.values, at);
  return {
    body: () => [linear(x.tensor, weight.tensor, bias.tensor)],
    references: [(index) => reference(index) + bias.values[index % n]!],
  };
}

function prepareLinearBackward(device: Device, { m, n, k }: Gemm): Prepared {
  const x = input(device, [m, k], 1);
  const weight = input(device, [n, k], 2, { scale: k ** -0.5 });
  const dy = input(device, [m, n], 3);
  x.tensor.requireGrad();
  weight.tensor.requireGrad();
  return {
    body: () => backward(linear(x.tensor, weight.tensor), [x.tensor, weight.tensor], { seed: dy.tensor }),
    references: [
      product(k, n, dy.values, weight.values, { a: (row, i) => row * n + i, b: (i, column) => i * k + column }),
      product(k, m, dy.values, x.values, { a: (row, i) => i * n + row, b: (i, column) => i * k + column }),
    ],
  };
}

export const matmulCases: readonly BenchCase[] = shapes.flatMap((gemm): BenchCase[] => {
  const { set, m, n, k } = gemm;
  const shape = `${m}x${n}x${k}`;
  const flops = 2 * m * n * k;
  return [
    { op: 'matmul', set, shape, dtype: 'f32', flops, prepare: (device) => prepareMatmul(device, gemm) },
    { op: 'linear', set, shape, dtype: 'f32', flops, prepare: (device) => prepareLinear(device, gemm, 'f32') },
    { op: 'linear', set, shape, dtype: 'f16', flops, prepare: (device) => prepareLinear(device, gemm, 'f16') },
    {
      op: 'linear backward',
      set,
      shape,
      dtype: 'f32',
      flops: 3 * flops,
      prepare: (device) => prepareLinearBackward(device, gemm),
    },
  ];
});
