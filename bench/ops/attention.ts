/** Attention softmax(query key^T / sqrt(headDim)) value, forward and backward. */
import type { Device } from '../../engine/device/device.js';
import { attention } from '../../engine/ops/attention.js';
import { backward } from '../../engine/tensor/tape.js';
import { attentionBenchCases } from '../../test/cases/attention.js';
import type { BenchCase, Prepared, Reference } from '../harness.js';
import { type Input, input } from './random.js';

type Attention = (typeof attentionBenchCases)[number];

interface Inputs {
  readonly query: Input;
  readonly key: Input;
  readonly value: Input;
}

function inputs(device: Device, { batch, heads, queries, keys, headDim }: Attention): Inputs {
  return {
    query: input(device, [batch, heads, queries, headDim], 1),
    key: input(device, [batch, heads, keys, headDim], 2),
    value: input(device, [batch, heads, keys, headDim], 3),
  };
}

/** Dot product of `count` elements from `i` in `a` and from `j` in `b`. */
function dot(a: ArrayLike<number>, i: number, b: ArrayLike<number>, j: number, count: number): number {
  let sum = 0;
  for (let k = 0; k < count; k++) sum += a[i + k]! * b[j + k]!;
  return sum;
}

/** Remembers the last few results: neighbouring samples fall into one head or row. */
function memoize<R>(compute: (index: number) => R): (index: number) => R {
  const known = new Map<number, R>();
  return (index) => {
    let value = known.get(index);
    if (value === undefined) {
      value = compute(index);
      if (known.size > 2048) known.clear();
      known.set(index, value);
    }
    return value;
  };
}

/** Per query row (over batch and heads): the probabilities and the output. */
function rows({ queries, keys, headDim }: Attention, { query, key, value }: Inputs) {
  return memoize((row: number): { probabilities: Float64Array; output: Float64Array } => {
    const first = Math.floor(row / queries) * keys * headDim;
    const probabilities = new Float64Array(keys);
    for (let j = 0; j < keys; j++) {
      probabilities[j] =
        dot(query.values, row * headDim, key.values, first + j * headDim, headDim) / Math.sqrt(headDim);
    }
    const largest = probabilities.reduce((a, b) => Math.max(a, b));
    let total = 0;
    for (let j = 0; j < keys; j++) total += probabilities[j] = Math.exp(probabilities[j]! - largest);
    const output = new Float64Array(headDim);
    for (let j = 0; j < keys; j++) {
      probabilities[j]! /= total;
      for (let d = 0; d < headDim; d++) output[d]! += probabilities[j]! * value.values[first + j * headDim + d]!;
    }
    return { probabilities, output };
  });
}

function prepareForward(device: Device, shape: Attention): Prepared {
  const given = inputs(device, shape);
  const row = rows(shape, given);
  return {
    body: () => [attention(given.query.tensor, given.key.tensor, given.value.tensor)],
    references: [(index) => row(Math.floor(index / shape.headDim)).output[index % shape.headDim]!],
  };
}

/** Gradients of softmax(s) v with s = scale q k^T: ds = p (dy v^T - dy . y), dq = scale ds k, dk = scale ds^T q, dv = p^T dy. */
function prepareBackward(device: Device, shape: Attention): Prepared {
  const { queries, keys, headDim } = shape;
  const given = inputs(device, shape);
  const { query, key, value } = given;
  const dy = input(device, query.tensor.shape, 4);
  const wrt = [query.tensor, key.tensor, value.tensor].map((tensor) => tensor.requireGrad());
  const row = rows(shape, given);
  const scale = 1 / Math.sqrt(headDim);

  const scoreGrad = (r: number, j: number): number => {
    const { probabilities, output } = row(r);
    const keyRow = Math.floor(r / queries) * keys + j;
    const dp = dot(dy.values, r * headDim, value.values, keyRow * headDim, headDim);
    return probabilities[j]! * (dp - dot(dy.values, r * headDim, output, 0, headDim));
  };
  const overKeys: Reference = (index) => {
    const r = Math.floor(index / headDim);
    const first = Math.floor(r / queries) * keys * headDim + (index % headDim);
    let sum = 0;
    for (let j = 0; j < keys; j++) sum += scale * scoreGrad(r, j) * key.values[first + j * headDim]!;
    return sum;
  };
  const overQueries =
    (weight: (r: number, j: number) => number, by: Float32Array): Reference =>
    (index) => {
      const keyRow = Math.floor(index / headDim);
      const first = Math.floor(keyRow / keys) * queries;
      let sum = 0;
      for (let r = first; r < first + queries; r++)
        sum += weight(r, keyRow % keys) * by[r * headDim + (index % headDim)]!;
      return sum;
    };
  return {
    body: () => backward(attention(query.tensor, key.tensor, value.tensor), wrt, { seed: dy.tensor }),
    references: [
      overKeys,
      overQueries((r, j) => scale * scoreGrad(r, j), query.values),
      overQueries((r, j) => row(r).probabilities[j]!, dy.values),
    ],
    samples: 12,
  };
}

export const attentionCases: readonly BenchCase[] = attentionBenchCases.flatMap((entry): BenchCase[] => {
  const { bench: set, batch, heads, queries, keys, headDim } = entry;
  const shape = `B${batch} H${heads} Q${queries} K${keys} D${headDim}`;
  const flops = 2 * 2 * batch * heads * queries * keys * headDim;
  return [
    { op: 'attention', set, shape, dtype: 'f32', flops, prepare: (device) => prepareForward(device, entry) },
    {
      op: 'attention backward',
      set,
      shape,
      dtype: 'f32',
      flops: 3 * flops,
      prepare: (device) => prepareBackward(device, entry),
    },
  ];
});
