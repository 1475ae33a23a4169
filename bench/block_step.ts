/** A whole training step, captured: forward, backward and AdamW of a transformer block with self-attention and gelu. */
import type { Device } from '../engine/device/device.js';
import { Attention, LayerNorm, Linear } from '../engine/nn/layers.js';
import { AdamW } from '../engine/nn/optimizer.js';
import { backward } from '../engine/tensor/tape.js';
import type { BenchCase, Prepared, ShapeSet } from './harness.js';
import { type Input, input } from './ops/random.js';

interface Block {
  readonly set: ShapeSet;
  readonly tokens: number;
  readonly features: number;
  readonly heads: number;
}

const shapes: readonly Block[] = [
  { set: 'sd14', tokens: 1024, features: 320, heads: 8 },
  { set: 'small', tokens: 64, features: 64, heads: 4 },
];

const eps = 1e-5;

/** The layer norm of a row, whose weight is 1 and bias 0. */
function normed(row: Float64Array): Float64Array {
  const mean = row.reduce((sum, x) => sum + x, 0) / row.length;
  const variance = row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / row.length;
  return row.map((x) => (x - mean) / Math.sqrt(variance + eps));
}

/** row weight^T; weight is [out, row.length]. */
function times(row: Float64Array, weight: ArrayLike<number>): Float64Array {
  return Float64Array.from({ length: weight.length / row.length }, (_, o) => {
    let sum = 0;
    for (let i = 0; i < row.length; i++) sum += row[i]! * weight[o * row.length + i]!;
    return sum;
  });
}

const geluTanh = (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

type Weights = Readonly<Record<'q' | 'k' | 'v' | 'out' | 'up' | 'down', Input>>;

/** Elements of the block's output, in double precision; rows as they are asked for. */
function reference({ tokens, features, heads }: Block, x: Input, weights: Weights): (index: number) => number {
  const inputs = Array.from({ length: tokens }, (_, t) =>
    Float64Array.from(x.values.subarray(t * features, (t + 1) * features)),
  );
  const rows = inputs.map(normed);
  const keys = rows.map((row) => times(row, weights.k.values));
  const values = rows.map((row) => times(row, weights.v.values));
  const width = features / heads;
  const attended = (query: Float64Array): Float64Array => {
    const result = new Float64Array(features);
    for (let first = 0; first < features; first += width) {
      const scores = keys.map((key) => {
        let sum = 0;
        for (let i = first; i < first + width; i++) sum += query[i]! * key[i]!;
        return sum / Math.sqrt(width);
      });
      const most = Math.max(...scores);
      const shares = scores.map((score) => Math.exp(score - most));
      const total = shares.reduce((sum, share) => sum + share, 0);
      for (let i = first; i < first + width; i++)
        result[i] = shares.reduce((sum, share, t) => sum + share * values[t]![i]!, 0) / total;
    }
    return result;
  };
  const made = new Map<number, Float64Array>();
  const outputRow = (t: number): Float64Array => {
    const toX = times(attended(times(rows[t]!, weights.q.values)), weights.out.values);
    const h = inputs[t]!.map((value, i) => value + toX[i]!);
    const inner = times(normed(h), weights.up.values).map(geluTanh);
    const toH = times(inner, weights.down.values);
    return h.map((value, i) => value + toH[i]!);
  };
  return (index) => {
    const row = Math.floor(index / features);
    if (!made.has(row)) made.set(row, outputRow(row));
    return made.get(row)![index % features]!;
  };
}

function prepare(device: Device, block: Block): Prepared {
  const { tokens, features, heads } = block;
  const weight = (out: number, width: number, seed: number): Input =>
    input(device, [out, width], seed, { scale: width ** -0.5 });
  const x = input(device, [1, tokens, features], 1);
  const dy = input(device, [1, tokens, features], 2);
  const weights: Weights = {
    q: weight(features, features, 3),
    k: weight(features, features, 4),
    v: weight(features, features, 5),
    out: weight(features, features, 6),
    up: weight(4 * features, features, 7),
    down: weight(features, 4 * features, 8),
  };
  const linear = ({ tensor }: Input): Linear => new Linear(tensor.requireGrad(), null);
  const attention = new Attention(
    linear(weights.q),
    linear(weights.k),
    linear(weights.v),
    [linear(weights.out)],
    heads,
  );
  const [up, down] = [linear(weights.up), linear(weights.down)];
  const norm = new LayerNorm(null, null, eps);
  const parameters = Object.values(weights).map(({ tensor }) => tensor);
  const optimizer = new AdamW(parameters);
  return {
    body: () => {
      const h = attention.forward(norm.forward(x.tensor), { residual: x.tensor });
      const y = down.forward(up.forward(norm.forward(h), { activation: 'geluTanh' }), { residual: h });
      optimizer.step(backward(y, parameters, { seed: dy.tensor }));
      return [y];
    },
    references: [reference(block, x, weights)],
    samples: 16,
  };
}

export const blockStepCases: readonly BenchCase[] = shapes.map((block) => {
  const { set, tokens, features, heads } = block;
  const forward = 2 * tokens * features * 12 * features + 4 * tokens * tokens * features;
  return {
    op: 'transformer block step with AdamW',
    set,
    shape: `${tokens} tokens, ${features} features, ${heads} heads`,
    dtype: 'f32',
    flops: 3 * forward, // as is usual: three times the forward
    prepare: (device) => prepare(device, block),
  };
});
