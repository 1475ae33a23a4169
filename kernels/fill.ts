/** A plan for constants and arithmetic progressions. */
import { type DType, elementTypes, linearGrid, type Plan } from './kernel.js';

/** The 32 bits of a number as an f32, or as an integer (modulo 2^32). */
export function bitsOf(value: number, dtype: DType): number {
  if (dtype === 'u32' || dtype === 'i32') return value >>> 0;
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}

/** y[i] = start + step i, for `count` elements; f16 is computed in f32. */
export function planFill(count: number, dtype: DType, start: number, step = 0): Plan {
  const unit = step === 0 && count % 4 === 0 ? 4 : 1;
  const { V, F } = elementTypes(dtype, unit);
  return {
    kernel: 'fill',
    variant: { types: { V, F, S: elementTypes(dtype, 1).F } },
    params: { count: count / unit, start: bitsOf(start, dtype), step: bitsOf(step, dtype) },
    grid: linearGrid(Math.ceil(count / unit / 256)),
  };
}
