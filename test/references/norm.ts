/** Normalisations in double precision, as plain loops. */
import type { Host } from '../host.js';

export interface GroupNormReference {
  readonly groups: number;
  readonly eps?: number;
  readonly silu?: boolean;
}

/** x [N, C, ...], weight and bias [C]. */
export function groupNorm(
  x: Host,
  weight: Host,
  bias: Host,
  { groups, eps = 1e-5, silu = false }: GroupNormReference,
): Host {
  const [samples, channels] = x.shape as [number, number];
  const pixels = x.data.length / (samples * channels);
  const size = (channels / groups) * pixels;
  const data = new Float64Array(x.data.length);
  for (let start = 0; start < data.length; start += size) {
    const { mean, rstd } = statistics(x.data.subarray(start, start + size), eps);
    for (let i = start; i < start + size; i++) {
      const channel = Math.floor(i / pixels) % channels;
      const value = (x.data[i]! - mean) * rstd * weight.data[channel]! + bias.data[channel]!;
      data[i] = silu ? value / (1 + Math.exp(-value)) : value;
    }
  }
  return { shape: x.shape, data };
}

/** x [..., C], weight and bias [C] or null; scale and shift [B, C] for x [T, B, C]. */
export function layerNorm(
  x: Host,
  weight: Host | null,
  bias: Host | null,
  { eps = 1e-5, scale, shift }: { eps?: number; scale?: Host; shift?: Host } = {},
): Host {
  const columns = x.shape.at(-1)!;
  const data = new Float64Array(x.data.length);
  for (let start = 0; start < data.length; start += columns) {
    const { mean, rstd } = statistics(x.data.subarray(start, start + columns), eps);
    const sample = scale ? start % scale.data.length : 0;
    for (let c = 0; c < columns; c++) {
      let value = (x.data[start + c]! - mean) * rstd * (weight?.data[c] ?? 1) + (bias?.data[c] ?? 0);
      if (scale && shift) value = value * (1 + scale.data[sample + c]!) + shift.data[sample + c]!;
      data[start + c] = value;
    }
  }
  return { shape: x.shape, data };
}

/** x [..., C], weight [C] or null. */
export function rmsNorm(x: Host, weight: Host | null, { eps = 1e-6 }: { eps?: number } = {}): Host {
  const columns = x.shape.at(-1)!;
  const data = new Float64Array(x.data.length);
  for (let start = 0; start < data.length; start += columns) {
    const squares = x.data.subarray(start, start + columns).reduce((sum, value) => sum + value * value, 0);
    const rstd = 1 / Math.sqrt(squares / columns + eps);
    for (let c = 0; c < columns; c++) data[start + c] = x.data[start + c]! * rstd * (weight?.data[c] ?? 1);
  }
  return { shape: x.shape, data };
}

function statistics(values: Float64Array, eps: number): { mean: number; rstd: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { mean, rstd: 1 / Math.sqrt(variance + eps) };
}
