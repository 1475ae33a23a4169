/** Turns elements of weight files, on the host, into what the GPU stores. */

import type { FileDType } from '../../engine/safetensors.js';
import { fromHalf, toHalf } from '../../engine/tensor/dtype.js';

/** Element types of files that can become weights. */
export const weightDTypes = ['F32', 'F16', 'BF16', 'F64'] as const satisfies readonly FileDType[];
export type WeightDType = (typeof weightDTypes)[number];

/** Element types of weights on the GPU. */
export type Storage = 'f32' | 'f16';

export const isWeightDType = (dtype: FileDType): dtype is WeightDType =>
  (weightDTypes as readonly FileDType[]).includes(dtype);

/** Values of every 16-bit pattern, made when first asked for. */
function table<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
const patterns = (): Uint16Array => Uint16Array.from({ length: 1 << 16 }, (_, i) => i);
const halfValues = table(() => Float32Array.from(patterns(), fromHalf));
const brainHalves = table(() => halves(brainFloats(patterns())));

/** `bytes` of type `from`, starting at a multiple of the element in their buffer, as elements of `to`; rounds to nearest even. */
export function convert(bytes: Uint8Array, from: WeightDType, to: Storage): Float32Array | Uint16Array {
  const { buffer, byteOffset, byteLength } = bytes;
  if (from === 'F32' || from === 'F64') {
    const values =
      from === 'F32'
        ? new Float32Array(buffer, byteOffset, byteLength / 4)
        : Float32Array.from(new Float64Array(buffer, byteOffset, byteLength / 8));
    return to === 'f32' ? values : halves(values);
  }
  const words = new Uint16Array(buffer, byteOffset, byteLength / 2);
  if (from === 'BF16') return to === 'f32' ? brainFloats(words) : wordsOf(words, brainHalves());
  return to === 'f32' ? floatsOf(words, halfValues()) : words;
}

// These are loops, one for each pair of types, because from() with a function takes many times as long.

function halves(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i]!;
    const magnitude = x & 0x7fffffff;
    // This rounds to normal halves as toHalf() does, which is called for all others.
    const isNormal = magnitude >= 0x38800000 && magnitude < 0x477ff000;
    const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
    out[i] = isNormal ? ((x >>> 16) & 0x8000) | ((rounded - 0x38000000) >>> 13) : toHalf(values[i]!);
  }
  return out;
}

function wordsOf(words: Uint16Array, values: Uint16Array): Uint16Array {
  const out = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) out[i] = values[words[i]!]!;
  return out;
}

function floatsOf(words: Uint16Array, values: Float32Array): Float32Array {
  const out = new Float32Array(words.length);
  for (let i = 0; i < words.length; i++) out[i] = values[words[i]!]!;
  return out;
}

/** bfloat16 is the upper half of f32. */
function brainFloats(words: Uint16Array): Float32Array {
  const bits = new Uint32Array(words.length);
  for (let i = 0; i < words.length; i++) bits[i] = words[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** The index of the first infinity or NaN, known by its exponent's bits, among elements that convert() gave; -1 without one. */
export function firstNonFinite(elements: Float32Array | Uint16Array): number {
  const { buffer, byteOffset, length } = elements;
  return elements instanceof Float32Array
    ? firstFloat(new Uint32Array(buffer, byteOffset, length))
    : firstHalf(elements);
}

function firstFloat(bits: Uint32Array): number {
  for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7f800000) === 0x7f800000) return i;
  return -1;
}

function firstHalf(bits: Uint16Array): number {
  for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7c00) === 0x7c00) return i;
  return -1;
}
