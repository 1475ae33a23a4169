/** Cases of the elementwise ops: what each computes, where its inputs lie, and the shapes. */
import type { ShapeSet } from '../../bench/harness.js';
import * as ops from '../../engine/ops/elementwise.js';
import type { Tensor } from '../../engine/tensor/tensor.js';
import { normalCdf } from '../references/elementwise.js';

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

export interface UnaryCase {
  readonly name: string;
  readonly run: (x: Tensor) => Tensor;
  readonly reference: (x: number) => number;
  /** Interval of the inputs; kept off the kinks, where central differences have no meaning. */
  readonly low?: number;
  readonly high?: number;
}

export const unaryCases: readonly UnaryCase[] = [
  { name: 'neg', run: ops.neg, reference: (x) => -x },
  { name: 'exp', run: ops.exp, reference: Math.exp, low: -5, high: 5 },
  { name: 'log', run: ops.log, reference: Math.log, low: 0.1, high: 10 },
  { name: 'sqrt', run: ops.sqrt, reference: Math.sqrt, low: 0.1, high: 10 },
  { name: 'rsqrt', run: ops.rsqrt, reference: (x) => 1 / Math.sqrt(x), low: 0.1, high: 10 },
  { name: 'sin', run: ops.sin, reference: Math.sin, low: -3, high: 3 },
  { name: 'cos', run: ops.cos, reference: Math.cos, low: -3, high: 3 },
  { name: 'square', run: ops.square, reference: (x) => x * x },
  { name: 'abs', run: ops.abs, reference: Math.abs, low: 0.1 },
  { name: 'sigmoid', run: ops.sigmoid, reference: sigmoid, low: -9, high: 9 },
  { name: 'tanh', run: ops.tanh, reference: Math.tanh, low: -4, high: 4 },
  { name: 'relu', run: ops.relu, reference: (x) => Math.max(x, 0), low: 0.1 },
  { name: 'silu', run: ops.silu, reference: (x) => x * sigmoid(x), low: -9, high: 9 },
  { name: 'quickGelu', run: ops.quickGelu, reference: (x) => x * sigmoid(1.702 * x), low: -5, high: 5 },
  { name: 'gelu', run: ops.gelu, reference: (x) => x * normalCdf(x), low: -7, high: 7 },
  {
    name: 'geluTanh',
    run: ops.geluTanh,
    reference: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
    low: -5,
    high: 5,
  },
  {
    name: 'clamp',
    run: (x) => ops.clamp(x, -2, 2),
    reference: (x) => Math.min(Math.max(x, -2), 2),
    low: -1.5,
    high: 1.5,
  },
  { name: 'add a number', run: (x) => ops.add(x, 0.75), reference: (x) => x + 0.75 },
  { name: 'mul by a number', run: (x) => ops.mul(x, -1.5), reference: (x) => x * -1.5 },
  { name: 'div by a number', run: (x) => ops.div(x, 3), reference: (x) => x / 3 },
  { name: 'pow of a number', run: (x) => ops.pow(x, 2.5), reference: (x) => x ** 2.5, low: 0.2, high: 3 },
  { name: 'cube of negatives', run: (x) => ops.pow(x, 3), reference: (x) => x ** 3, low: -2, high: -0.2 },
];

export interface BinaryCase {
  readonly name: string;
  readonly run: (a: Tensor, b: Tensor) => Tensor;
  readonly reference: (a: number, b: number) => number;
  readonly low?: number;
}

export const binaryCases: readonly BinaryCase[] = [
  { name: 'add', run: ops.add, reference: (a, b) => a + b },
  { name: 'sub', run: ops.sub, reference: (a, b) => a - b },
  { name: 'mul', run: ops.mul, reference: (a, b) => a * b },
  { name: 'div', run: ops.div, reference: (a, b) => a / b, low: 0.3 },
  { name: 'minimum', run: ops.minimum, reference: Math.min },
  { name: 'maximum', run: ops.maximum, reference: Math.max },
  { name: 'pow', run: ops.pow, reference: (a, b) => a ** b, low: 0.3 },
];

/** Pairs of shapes: equal, odd, single, scalar, last, middle and outer axes repeated, both sides repeated, five merged axes. */
export const broadcastCases: readonly (readonly [readonly number[], readonly number[]])[] = [
  [
    [4, 8],
    [4, 8],
  ],
  [
    [3, 5],
    [3, 5],
  ],
  [[1], [1]],
  [[], []],
  [[2, 3, 4], []],
  [[2, 3, 4], [4]],
  [
    [2, 3, 4],
    [3, 1],
  ],
  [
    [2, 5, 3],
    [2, 1, 3],
  ],
  [
    [3, 1, 4],
    [1, 5, 1],
  ],
  [
    [2, 3, 2, 3, 4],
    [2, 1, 2, 1, 4],
  ],
  [
    [2, 2, 2, 2, 3],
    [1, 2, 1, 2, 1],
  ],
];

/** What is timed: so many elements of add, silu and gelu. */
export const elementwiseBenchCases: readonly { readonly bench: ShapeSet; readonly count: number }[] = [
  { bench: 'sd14', count: 1 << 22 },
  { bench: 'small', count: 96 * 16 * 64 }, // an activation of the embedded models
];
