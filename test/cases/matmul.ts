/** Cases of the matrix products: shapes that fill tiles and shapes that do not, every layout, batch and epilogue. */
import type { ShapeSet } from '../../bench/harness.js';
import type { Activation } from '../../kernels/matmul.js';

export interface MatmulCase {
  readonly name: string;
  readonly a: readonly number[];
  readonly b: readonly number[];
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

const sizes = [
  { name: 'more than a tile, four wide', m: 76, n: 68, k: 36 },
  { name: 'odd sizes', m: 19, n: 37, k: 23 },
] as const;

export const matmulCases: readonly MatmulCase[] = [
  ...sizes.flatMap(({ name, m, n, k }): MatmulCase[] => [
    { name, a: [m, k], b: [k, n] },
    { name: `${name}, b transposed`, a: [m, k], b: [n, k], transposeB: true },
    { name: `${name}, a transposed`, a: [k, m], b: [k, n], transposeA: true },
    { name: `${name}, both transposed`, a: [k, m], b: [n, k], transposeA: true, transposeB: true },
  ]),
  { name: 'a row times a column', a: [1, 9], b: [9, 1] },
  { name: 'a column times a row', a: [5, 1], b: [1, 6] },
  { name: 'one element', a: [1, 1], b: [1, 1] },
  { name: 'a long sum of an odd length, a transposed', a: [301, 8], b: [301, 12], transposeA: true },
  { name: 'a batch', a: [3, 5, 8], b: [3, 8, 4] },
  { name: 'a batch with a shared b', a: [2, 3, 5, 8], b: [8, 4] },
  { name: 'a batch with a shared b, transposed', a: [3, 5, 8], b: [1, 4, 8], transposeB: true },
  { name: 'a transposed batch with a shared b', a: [3, 8, 4], b: [8, 4], transposeA: true },
  { name: 'a shared a', a: [5, 8], b: [3, 8, 4] },
  { name: 'batch axes that broadcast both ways', a: [2, 1, 5, 8], b: [3, 8, 4] },
  { name: 'batch axes that do not merge into two', a: [2, 1, 2, 5, 8], b: [3, 1, 8, 4] },
];

/** What is timed: a product of a model, [m, k] by [k, n]; a linear layer of those sizes too. */
export const matmulBenchCases: readonly (MatmulCase & { readonly bench: ShapeSet })[] = [
  { bench: 'sd14', name: 'a square product', a: [1024, 1024], b: [1024, 1024] },
  { bench: 'sd14', name: 'a feed-forward layer, in', a: [4096, 320], b: [320, 1280] },
  { bench: 'sd14', name: 'a feed-forward layer, out', a: [1024, 1280], b: [1280, 320] },
  { bench: 'small', name: 'a feed-forward layer of the embedded models', a: [1536, 64], b: [64, 256] },
  { bench: 'small', name: 'a projection of the embedded models', a: [1536, 64], b: [64, 64] },
];

export interface LinearCase {
  readonly name: string;
  readonly x: readonly number[];
  readonly out: number;
  readonly bias?: boolean;
  readonly activation?: Activation;
  readonly residual?: boolean;
  /** For x [T, B, in]. */
  readonly gate?: boolean;
  readonly parts?: number;
}

export const linearCases: readonly LinearCase[] = [
  { name: 'no epilogue', x: [2, 9, 12], out: 20 },
  { name: 'a bias', x: [2, 9, 12], out: 20, bias: true },
  { name: 'a residual', x: [2, 9, 12], out: 20, residual: true },
  { name: 'silu', x: [2, 9, 12], out: 20, bias: true, activation: 'silu' },
  { name: 'gelu', x: [2, 9, 12], out: 20, bias: true, activation: 'gelu' },
  { name: 'geluTanh', x: [2, 9, 12], out: 20, bias: true, activation: 'geluTanh' },
  { name: 'quickGelu without bias', x: [2, 9, 12], out: 20, activation: 'quickGelu' },
  { name: 'relu', x: [2, 9, 12], out: 20, bias: true, activation: 'relu' },
];

/** Every part of the epilogue at once, for each kernel and width of loads. */
export const fullLinearCases: readonly LinearCase[] = [
  { name: 'everything, four wide', x: [2, 40, 36], out: 68, bias: true, activation: 'silu', residual: true },
  { name: 'everything, odd sizes', x: [3, 5, 7], out: 37, bias: true, activation: 'silu', residual: true },
  { name: 'everything, one row of one element', x: [1], out: 1, bias: true, activation: 'silu', residual: true },
  { name: 'a gate, four wide', x: [30, 3, 36], out: 68, bias: true, residual: true, gate: true },
  { name: 'a gate, odd sizes', x: [5, 2, 7], out: 37, bias: true, gate: true },
  { name: 'a gate for one sample', x: [40, 1, 8], out: 12, residual: true, gate: true },
  {
    name: 'parts, wider than a tile',
    x: [2, 40, 36],
    out: 168,
    bias: true,
    activation: 'silu',
    residual: true,
    parts: 2,
  },
  { name: 'parts of odd width', x: [5, 7], out: 45, bias: true, activation: 'silu', residual: true, parts: 3 },
];
