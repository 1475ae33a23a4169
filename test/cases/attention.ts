/** Cases of attention: sizes around the tiles' edges, every structure of head dimension, mask and bias. */
import type { ShapeSet } from '../../bench/harness.js';
import { attention } from '../../engine/ops/attention.js';
import { permute } from '../../engine/ops/shape.js';
import type { Tensor } from '../../engine/tensor/tensor.js';
import type { DType } from '../../kernels/kernel.js';
import type { Reference, Run } from '../check.js';
import { type Host, random } from '../host.js';
import { attention as naive } from '../references/attention.js';

export interface AttentionCase {
  readonly name: string;
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
  readonly causal?: boolean;
  readonly scale?: number;
  /** Shape of the additive bias. */
  readonly bias?: readonly [number, number, number, number];
  readonly dtype?: DType;
}

export const attentionCases: readonly AttentionCase[] = [
  { name: 'a single token', batch: 1, heads: 1, queries: 1, keys: 1, headDim: 8 },
  { name: 'head dimension 8', batch: 2, heads: 3, queries: 19, keys: 37, headDim: 8 },
  { name: 'head dimension 20', batch: 1, heads: 2, queries: 33, keys: 33, headDim: 20 },
  { name: 'head dimension 40 over 77 text tokens', batch: 2, heads: 2, queries: 35, keys: 77, headDim: 40 },
  { name: 'head dimension 64', batch: 1, heads: 2, queries: 64, keys: 64, headDim: 64 },
  { name: 'head dimension 160', batch: 1, heads: 2, queries: 21, keys: 34, headDim: 160 },
  { name: 'an odd head dimension', batch: 2, heads: 2, queries: 17, keys: 33, headDim: 13 },
  { name: 'a head dimension of one', batch: 1, heads: 2, queries: 9, keys: 5, headDim: 1 },
  { name: 'its own scale', batch: 1, heads: 2, queries: 7, keys: 9, headDim: 8, scale: 1.5 },
  { name: 'a causal mask', batch: 2, heads: 2, queries: 70, keys: 70, headDim: 8, causal: true },
  { name: 'a causal mask, more keys', batch: 1, heads: 1, queries: 20, keys: 51, headDim: 8, causal: true },
  { name: 'a causal mask, more queries', batch: 1, heads: 1, queries: 75, keys: 20, headDim: 8, causal: true },
  { name: 'a bias by key', batch: 2, heads: 2, queries: 17, keys: 41, headDim: 8, bias: [2, 1, 1, 41] },
  { name: 'a bias by head and key', batch: 2, heads: 3, queries: 5, keys: 9, headDim: 8, bias: [1, 3, 1, 9] },
  {
    name: 'a bias by head, query and key',
    batch: 2,
    heads: 2,
    queries: 18,
    keys: 35,
    headDim: 8,
    bias: [1, 2, 18, 35],
  },
  {
    name: 'a bias for each score and a causal mask',
    ...{ batch: 2, heads: 2, queries: 9, keys: 9, headDim: 8, causal: true },
    bias: [2, 2, 9, 9],
  },
  { name: 'f16', batch: 1, heads: 2, queries: 18, keys: 35, headDim: 24, dtype: 'f16' },
];

/** What is timed. */
export const attentionBenchCases: readonly (AttentionCase & { readonly bench: ShapeSet })[] = [
  { bench: 'sd14', name: 'of pixels', batch: 2, heads: 8, queries: 1024, keys: 1024, headDim: 40 },
  { bench: 'sd14', name: "to CLIP's 77 tokens", batch: 2, heads: 8, queries: 1024, keys: 77, headDim: 40 },
  { bench: 'small', name: 'of short texts', batch: 96, heads: 4, queries: 23, keys: 23, headDim: 16 },
];

/** Query, key and value [B, H, T, D] of a case, and the bias where it has one. */
export const inputsOf = ({ batch, heads, queries, keys, headDim, bias, dtype = 'f32' }: AttentionCase): Host[] => [
  random([batch, heads, queries, headDim], 1, { low: -2, high: 2, dtype }),
  random([batch, heads, keys, headDim], 2, { low: -2, high: 2, dtype }),
  random([batch, heads, keys, headDim], 3, { dtype }),
  ...(bias ? [random(bias, 4, { low: -3, high: 3 })] : []),
];

export const runOf =
  ({ causal = false, scale }: Partial<AttentionCase> = {}): Run =>
  (query, key, value, bias) =>
    attention(query!, key!, value!, { causal, ...(scale && { scale }), bias: bias ?? null });

export const referenceOf =
  (entry: Partial<AttentionCase> = {}): Reference =>
  (query, key, value, bias) =>
    naive(query!, key!, value!, bias, entry);

/** Attention over inputs brought to another layout, and its result brought back. */
export const inLayout: (layout: 'BTHC' | 'TBHC', causal: boolean) => Run =
  (layout, causal) =>
  (...inputs) => {
    const there = [...layout].map((axis) => 'BHTC'.indexOf(axis));
    const back = [...'BHTC'].map((axis) => layout.indexOf(axis));
    const [query, key, value] = inputs.slice(0, 3).map((x) => permute(x!, there)) as [Tensor, Tensor, Tensor];
    return permute(attention(query, key, value, { causal, layout, bias: inputs[3] ?? null }), back);
  };
