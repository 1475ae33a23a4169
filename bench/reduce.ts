/** Sums over rows and over columns, and softmax. */
import { sum } from '../engine/ops/reduce.js';
import { softmax } from '../engine/ops/softmax.js';
import { backward } from '../engine/tensor/tape.js';
import { reduceBenchCases } from '../test/cases/reduce.js';
import type { BenchCase } from './harness.js';
import { input } from './random.js';

/** softmax(x)_i of the row that holds element `index`. */
function softmaxAt(x: Float32Array, columns: number, index: number): number {
  const row = x.subarray(index - (index % columns), index - (index % columns) + columns);
  return Math.exp(x[index]!) / row.reduce((total, value) => total + Math.exp(value), 0);
}

export const reduceCases: readonly BenchCase[] = reduceBenchCases.flatMap(
  ({ bench: set, shape: sizes }): BenchCase[] => {
    const [rows, columns] = sizes as [number, number];
    const shape = `${rows}x${columns}`;
    const common = { set, shape, dtype: 'f32' } as const;
    const bytes = 4 * rows * columns;
    return [
      {
        ...common,
        op: 'sum over rows',
        bytes,
        prepare: (device) => {
          const x = input(device, [rows, columns], 1);
          const reference = (column: number): number =>
            x.values.reduce((total, v, i) => (i % columns === column ? total + v : total), 0);
          return { body: () => [sum(x.tensor, 0)], references: [reference], samples: 16 };
        },
      },
      {
        ...common,
        op: 'sum over columns',
        bytes,
        prepare: (device) => {
          const x = input(device, [rows, columns], 1);
          const reference = (row: number): number =>
            x.values.subarray(row * columns, (row + 1) * columns).reduce((total, v) => total + v, 0);
          return { body: () => [sum(x.tensor, 1)], references: [reference] };
        },
      },
      {
        ...common,
        op: 'softmax',
        bytes: 2 * bytes,
        prepare: (device) => {
          const x = input(device, [rows, columns], 1);
          return { body: () => [softmax(x.tensor)], references: [(i) => softmaxAt(x.values, columns, i)] };
        },
      },
      {
        ...common,
        op: 'softmax backward',
        bytes: (2 + 3) * bytes,
        prepare: (device) => {
          const x = input(device, [rows, columns], 1);
          const dy = input(device, [rows, columns], 2);
          x.tensor.requireGrad();
          const reference = (index: number): number => {
            const first = index - (index % columns);
            const row = x.values.subarray(first, first + columns);
            const total = row.reduce((sum, v) => sum + Math.exp(v), 0);
            const projected = row.reduce((sum, v, j) => sum + (Math.exp(v) / total) * dy.values[first + j]!, 0);
            return (Math.exp(x.values[index]!) / total) * (dy.values[index]! - projected);
          };
          return { body: () => backward(softmax(x.tensor), [x.tensor], { seed: dy.tensor }), references: [reference] };
        },
      },
    ];
  },
);
