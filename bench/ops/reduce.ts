/** Sums over rows and over columns, and softmax. */
import { sum } from '../../engine/ops/reduce.js';
import { softmax } from '../../engine/ops/softmax.js';
import { backward } from '../../engine/tensor/tape.js';
import { reduceBenchCases } from '../../test/cases/reduce.js';
import * as naive from '../../test/references/reduce.js';
import type { BenchCase } from '../harness.js';
import { elementsOf, input } from './random.js';

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
          const reference = elementsOf((values) => naive.reduce(naive.sum, values!, [0]), x);
          return { body: () => [sum(x.tensor, 0)], references: [reference], samples: 16 };
        },
      },
      {
        ...common,
        op: 'sum over columns',
        bytes,
        prepare: (device) => {
          const x = input(device, [rows, columns], 1);
          const reference = elementsOf((values) => naive.reduce(naive.sum, values!, [1]), x);
          return { body: () => [sum(x.tensor, 1)], references: [reference] };
        },
      },
      {
        ...common,
        op: 'softmax',
        bytes: 2 * bytes,
        prepare: (device) => {
          const x = input(device, [rows, columns], 1);
          const reference = elementsOf((values) => naive.alongAxis(naive.softmax, values!, 1), x);
          return { body: () => [softmax(x.tensor)], references: [reference] };
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
