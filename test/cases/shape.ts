/** Cases of the ops that move elements: what each does, and the reference. */
import * as ops from '../../engine/ops/shape.js';
import type { Tensor } from '../../engine/tensor/tensor.js';
import type { Host } from '../host.js';
import * as references from '../references/shape.js';

export interface ShapeCase {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  readonly run: (...inputs: Tensor[]) => Tensor;
  readonly reference: (...inputs: Host[]) => Host;
}

function permutation(name: string, shape: readonly number[], axes: readonly number[]): ShapeCase {
  return {
    name: `permute, ${name}`,
    shapes: [shape],
    run: (x) => ops.permute(x, axes),
    reference: (x) => references.permute(x, axes),
  };
}

function range(name: string, shape: readonly number[], axis: number, start: number, end: number): ShapeCase {
  return {
    name: `slice, ${name}`,
    shapes: [shape],
    run: (x) => ops.slice(x, axis, start, end),
    reference: (x) => references.slice(x, axis, start, end),
  };
}

function joined(name: string, shapes: readonly (readonly number[])[], axis: number): ShapeCase {
  return {
    name: `concat, ${name}`,
    shapes,
    run: (...xs) => ops.concat(xs, axis),
    reference: (...xs) => references.concat(xs, axis),
  };
}

function padded(name: string, shape: readonly number[], widths: readonly (readonly [number, number])[]): ShapeCase {
  return {
    name: `pad, ${name}`,
    shapes: [shape],
    run: (x) => ops.pad(x, widths, 0.5),
    reference: (x) => references.pad(x, widths, 0.5),
  };
}

/** Fours: sizes and offsets that allow vectors of four elements. Blocks: transposes that move four by four. */
export const shapeCases: readonly ShapeCase[] = [
  {
    name: 'reshape, one size left open',
    shapes: [[2, 3, 4]],
    run: (x) => ops.reshape(x, [4, -1]),
    reference: ({ data }) => ({ shape: [4, 6], data }),
  },
  {
    name: 'reshape, to a scalar',
    shapes: [[1, 1]],
    run: (x) => ops.reshape(x, []),
    reference: ({ data }) => ({ shape: [], data }),
  },
  permutation('odd sizes', [3, 4, 5], [2, 0, 1]),
  permutation('of heads, in fours', [2, 5, 3, 8], [0, 2, 1, 3]),
  permutation('channels to the end, in blocks', [2, 8, 3, 4], [0, 2, 3, 1]),
  permutation('channels to the end, odd pixels', [2, 8, 3, 5], [0, 2, 3, 1]),
  permutation('channels to the front, odd pixels', [2, 15, 8], [0, 2, 1]),
  permutation('five axes reversed', [2, 3, 4, 3, 5], [4, 3, 2, 1, 0]),
  permutation('five axes, in blocks', [2, 4, 3, 2, 8], [3, 2, 4, 0, 1]),
  permutation('nothing moves', [3, 5], [0, 1]),
  permutation('a single element', [1, 1], [1, 0]),
  {
    name: 'transpose, of the last axes',
    shapes: [[3, 5, 7]],
    run: (x) => ops.transpose(x, -1, 1),
    reference: (x) => references.permute(x, [0, 2, 1]),
  },
  range('a middle axis', [3, 9, 4], 1, 2, 7),
  range('a last axis, not in fours', [3, 12], 1, 3, 11),
  range('a last axis, in fours', [3, 12], 1, 4, 12),
  range('a first axis', [7, 3], 0, 6, 7),
  joined(
    'a middle axis',
    [
      [2, 3, 4],
      [2, 1, 4],
      [2, 4, 4],
    ],
    1,
  ),
  joined(
    'a last axis, odd',
    [
      [3, 5],
      [3, 1],
    ],
    1,
  ),
  joined('one tensor', [[3, 5]], 0),
  padded(
    'odd',
    [2, 3, 5],
    [
      [0, 0],
      [1, 2],
      [3, 0],
    ],
  ),
  padded(
    'in fours',
    [2, 3, 8],
    [
      [1, 0],
      [0, 1],
      [4, 4],
    ],
  ),
];
