/** Elementwise ops, bound by memory: 4 M elements, and an activation of the embedded models. */
import { add, gelu, silu } from '../engine/ops/elementwise.js';
import { backward } from '../engine/tensor/tape.js';
import type { Tensor } from '../engine/tensor/tensor.js';
import type { BenchCase, ShapeSet } from './harness.js';
import { input } from './random.js';

const sizes: readonly { set: ShapeSet; count: number }[] = [
  { set: 'sd14', count: 1 << 22 },
  { set: 'small', count: 96 * 16 * 64 },
];

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** The Gauss error function by its series; |x| is a few units here. */
function erf(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; n < 100 && Math.abs(term) > 1e-18; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

const unary: readonly { op: string; apply: (x: Tensor) => Tensor; reference: (x: number) => number }[] = [
  { op: 'silu', apply: silu, reference: (x) => x * sigmoid(x) },
  { op: 'gelu', apply: gelu, reference: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)) },
];

export const elementwiseCases: readonly BenchCase[] = sizes.flatMap(({ set, count }): BenchCase[] => {
  const shape = `${count}`;
  return [
    {
      op: 'add',
      set,
      shape,
      dtype: 'f32',
      bytes: 3 * 4 * count,
      prepare: (device) => {
        const a = input(device, [count], 1);
        const b = input(device, [count], 2);
        return { body: () => [add(a.tensor, b.tensor)], references: [(i) => a.values[i]! + b.values[i]!] };
      },
    },
    ...unary.map(
      ({ op, apply, reference }): BenchCase => ({
        op,
        set,
        shape,
        dtype: 'f32',
        bytes: 2 * 4 * count,
        prepare: (device) => {
          const x = input(device, [count], 1);
          return { body: () => [apply(x.tensor)], references: [(i) => reference(x.values[i]!)] };
        },
      }),
    ),
    {
      op: 'silu backward',
      set,
      shape,
      dtype: 'f32',
      bytes: (2 + 3) * 4 * count,
      prepare: (device) => {
        const x = input(device, [count], 1);
        const dy = input(device, [count], 2);
        x.tensor.requireGrad();
        const slope = (v: number): number => sigmoid(v) * (1 + v * (1 - sigmoid(v)));
        return {
          body: () => backward(silu(x.tensor), [x.tensor], { seed: dy.tensor }),
          references: [(i) => dy.values[i]! * slope(x.values[i]!)],
        };
      },
    },
  ];
});
