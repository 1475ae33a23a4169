/** Element types on the host: sizes and conversion, f16 included (Node 20 has no Float16Array). */
import type { DType } from '../../kernels/kernel.js';
import { check } from '../errors.js';

export type TypedData = Float32Array | Int32Array | Uint32Array;

export function bytesOf(dtype: DType, elements: number): number {
  return elements * (dtype === 'f16' ? 2 : 4);
}

const f32 = new Float32Array(1);
const bits = new Uint32Array(f32.buffer);

/** The 16 bits of the half nearest to `value`, ties to even (IEEE 754 binary16). */
export function toHalf(value: number): number {
  f32[0] = value;
  const x = bits[0]!;
  const sign = (x >>> 16) & 0x8000;
  const magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and more round to infinity
  if (magnitude >= 0x38800000) {
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
    return sign | ((rounded - 0x38000000) >>> 13);
  }
  if (magnitude < 0x33000000) return sign; // below half of the smallest subnormal
  const shift = 126 - (magnitude >>> 23);
  const mantissa = (magnitude & 0x7fffff) | 0x800000;
  const half = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  return sign | (half + (rest > middle || (rest === middle && half & 1) ? 1 : 0));
}

/** The value of 16 bits of binary16. */
export function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 31;
  const mantissa = half & 0x3ff;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? 2 ** (exponent - 25) * (mantissa + 1024) : 2 ** -24 * mantissa);
}

/** The bytes of `values` as stored on the GPU. Integers must be integers in range. */
export function toBytes(dtype: DType, values: ArrayLike<number>): Uint8Array {
  if (dtype === 'f16') return asBytes(Uint16Array.from(values, toHalf));
  if (dtype === 'f32') return asBytes(values instanceof Float32Array ? values : Float32Array.from(values));
  const typed = dtype === 'i32' ? Int32Array.from(values) : Uint32Array.from(values);
  for (let i = 0; i < typed.length; i++) {
    check(typed[i] === values[i], () => `value ${values[i]} at ${i} is not of type ${dtype}`);
  }
  return asBytes(typed);
}

/** The values in bytes read back from the GPU; f16 as f32. `bytes` must be aligned to the element. */
export function arrayOf(dtype: DType, bytes: Uint8Array): TypedData {
  const { buffer, byteOffset, byteLength } = bytes;
  if (dtype === 'f16') return Float32Array.from(new Uint16Array(buffer, byteOffset, byteLength / 2), fromHalf);
  if (dtype === 'f32') return new Float32Array(buffer, byteOffset, byteLength / 4);
  if (dtype === 'i32') return new Int32Array(buffer, byteOffset, byteLength / 4);
  return new Uint32Array(buffer, byteOffset, byteLength / 4);
}

function asBytes(array: Float32Array | Int32Array | Uint32Array | Uint16Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
