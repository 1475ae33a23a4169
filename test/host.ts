/** Tensors on the host, in double precision: what the tests' references and the benches compute with. */
import { fromHalf, toHalf } from '../engine/tensor/dtype.js';
import type { DType } from '../kernels/kernel.js';

/** A tensor on the host, in double precision. */
export interface Host {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export const host = (shape: readonly number[], data: ArrayLike<number>): Host => ({
  shape,
  data: Float64Array.from(data),
});

/** Deterministic pseudo-random values in [low, high), rounded to what the dtype can hold. (mulberry32) */
export function random(
  shape: readonly number[],
  seed: number,
  { low = -1, high = 1, dtype = 'f32' as DType } = {},
): Host {
  const size = shape.reduce((product, n) => product * n, 1);
  const data = new Float64Array(size);
  let state = (seed * 0x9e3779b9) >>> 0;
  for (let i = 0; i < size; i++) {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    const value = low + ((high - low) * ((t ^ (t >>> 14)) >>> 0)) / 2 ** 32;
    data[i] = dtype === 'f16' ? fromHalf(toHalf(value)) : dtype === 'f32' ? Math.fround(value) : Math.floor(value);
  }
  return { shape, data };
}

/** The given samples (rows of axis 0) of a host tensor. */
export function pick({ shape, data }: Host, samples: readonly number[]): Host {
  const each = data.length / shape[0]!;
  const out = new Float64Array(samples.length * each);
  samples.forEach((sample, s) => {
    out.set(data.subarray(sample * each, (sample + 1) * each), s * each);
  });
  return { shape: [samples.length, ...shape.slice(1)], data: out };
}
