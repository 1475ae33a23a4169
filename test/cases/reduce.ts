/** Cases of the reductions: layouts of kept and reduced axes, and the functions. */

import type { ShapeSet } from '../../bench/harness.js';
import type { ReduceOptions } from '../../engine/ops/reduce.js';
import * as ops from '../../engine/ops/reduce.js';
import type { Tensor } from '../../engine/tensor/tensor.js';
import * as references from '../references/reduce.js';

export interface ReduceCase {
  readonly name: string;
  readonly shape: readonly number[];
  /** Default: all. */
  readonly axes?: readonly number[];
  readonly keepDims?: boolean;
}

/** Rows are reduced along contiguous memory, columns across it; both come in fours where sizes allow, and in chunks when long. */
export const reduceCases: readonly ReduceCase[] = [
  { name: 'all of an odd size', shape: [3, 5, 7] },
  { name: 'a scalar', shape: [] },
  { name: 'one element', shape: [1, 1], axes: [1] },
  { name: 'rows in fours', shape: [5, 64], axes: [1] },
  { name: 'odd rows', shape: [4, 3, 37], axes: [2], keepDims: true },
  { name: 'odd rows in three chunks', shape: [2, 4099], axes: [1] },
  { name: 'rows in fours in three chunks', shape: [2, 4108], axes: [1] },
  { name: 'columns in fours', shape: [19, 8], axes: [0] },
  { name: 'odd columns in three chunks', shape: [131, 5], axes: [0], keepDims: true },
  { name: 'a middle axis', shape: [3, 70, 12], axes: [1] },
  { name: 'outer and inner axes', shape: [4, 6, 5, 3], axes: [0, 2, 3] },
  { name: 'alternating axes', shape: [3, 4, 5, 8], axes: [0, 2], keepDims: true },
  { name: 'an axis of one', shape: [4, 1, 6], axes: [1] },
];

/** What is timed: sums over axis 0 and over axis 1, and softmax of the rows. */
export const reduceBenchCases: readonly (ReduceCase & { readonly bench: ShapeSet })[] = [
  { bench: 'sd14', name: 'a square', shape: [1024, 1024] },
  { bench: 'small', name: 'short rows', shape: [2048, 64] },
];

export interface ReduceFunction {
  readonly name: string;
  readonly run: (x: Tensor, axes?: readonly number[], options?: ReduceOptions) => Tensor;
  readonly reference: (values: number[]) => number;
  /** Fewest elements that may meet in a result. */
  readonly least?: number;
}

export const reduceFunctions: readonly ReduceFunction[] = [
  { name: 'sum', run: ops.sum, reference: references.sum },
  { name: 'mean', run: ops.mean, reference: references.mean },
  { name: 'max', run: ops.max, reference: references.max },
  { name: 'min', run: ops.min, reference: references.min },
  { name: 'variance', run: ops.variance, reference: references.variance(0) },
  {
    name: 'variance with correction 1',
    run: (x, axes, options) => ops.variance(x, axes, { ...options, correction: 1 }),
    reference: references.variance(1),
    least: 2,
  },
  { name: 'logSumExp', run: ops.logSumExp, reference: references.logSumExp },
];

/** Lines of a cumulative sum: one chunk, several, and several whose starts are themselves in chunks. */
export const cumsumCases: readonly {
  readonly name: string;
  readonly shape: readonly number[];
  readonly axis: number;
}[] = [
  { name: 'a last axis', shape: [3, 37], axis: 1 },
  { name: 'a middle axis in fours', shape: [2, 9, 8], axis: 1 },
  { name: 'an odd axis in three chunks', shape: [2, 131, 3], axis: 1 },
  { name: 'a line in 65 chunks', shape: [4100], axis: 0 },
];
