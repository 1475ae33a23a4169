/** Attention in double precision, by its definition. */
import type { Host } from '../host.js';

export interface AttentionReferenceOptions {
  readonly scale?: number;
  readonly causal?: boolean;
}

/** softmax(scale query key^T + bias) value; query [B, H, Tq, D], key and value [B, H, Tk, D], bias [B|1, H|1, Tq|1, Tk]. */
export function attention(
  query: Host,
  key: Host,
  value: Host,
  bias?: Host,
  { scale, causal = false }: AttentionReferenceOptions = {},
): Host {
  const [batch, heads, queries, headDim] = query.shape as [number, number, number, number];
  const keys = key.shape[2]!;
  const factor = scale ?? 1 / Math.sqrt(headDim);
  const data = new Float64Array(query.data.length);
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < queries; i++) {
        const row = ((b * heads + h) * queries + i) * headDim;
        const first = (b * heads + h) * keys * headDim;
        const scores: number[] = [];
        for (let j = 0; j < (causal ? Math.min(i + 1, keys) : keys); j++) {
          let score = 0;
          for (let d = 0; d < headDim; d++) score += query.data[row + d]! * key.data[first + j * headDim + d]!;
          scores.push(score * factor + (bias ? biasAt(bias, b, h, i, j) : 0));
        }
        const highest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - highest));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        weights.forEach((weight, j) => {
          for (let d = 0; d < headDim; d++) {
            data[row + d]! += (weight / total) * value.data[first + j * headDim + d]!;
          }
        });
      }
    }
  }
  return { shape: query.shape, data };
}

function biasAt({ shape, data }: Host, ...index: readonly number[]): number {
  let at = 0;
  index.forEach((i, axis) => {
    at = at * shape[axis]! + (shape[axis] === 1 ? 0 : i);
  });
  return data[at]!;
}
