/** Elementwise ops, bound by memory: 4 M elements, and an activation of the embedded models. */
import { add, silu } from '../../engine/ops/elementwise.js';
import { backward } from '../../engine/tensor/tape.js';
import { elementwiseBenchCases, unaryCases } from '../../test/cases/elementwise.js';
import type { BenchCase } from '../harness.js';
import { input } from './random.js';

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

const unary = unaryCases
  .filter(({ name }) => name === 'silu' || name === 'gelu')
  .map((entry) => ({ ...entry, op: entry.name }));

export const elementwiseCases: readonly BenchCase[] = elementwiseBenchCases.flatMap(
  ({ bench: set, count }): BenchCase[] => {
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
        ({ op, run, reference }): BenchCase => ({
          op,
          set,
          shape,
          dtype: 'f32',
          bytes: 2 * 4 * count,
          prepare: (device) => {
            const x = input(device, [count], 1);
            return { body: () => [run(x.tensor)], references: [(i) => reference(x.values[i]!)] };
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
  },
);
