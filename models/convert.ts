/** Elements of weight files as the GPU stores them. Host only. */
import { fromHalf, toHalf } from '../engine/dtype.js';
import type { FileDType } from '../engine/safetensors.js';

/** Element types of files that can become weights. */
export const weightDTypes = ['F32', 'F16', 'BF16', 'F64'] as const satisfies readonly FileDType[];
export type WeightDType = (typeof weightDTypes)[number];

/** Element types of weights on the GPU. */
export type Storage = 'f32' | 'f16';

export const isWeightDType = (dtype: FileDType): dtype is WeightDType =>
  (weightDTypes as readonly FileDType[]).includes(dtype);

/** Values of every 16-bit pattern, made when first asked for: a look-up is many times faster than arithmetic. */
function table<T extends Float32Array | Uint16Array>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
const patterns = (): Uint16Array => Uint16Array.from({ length: 1 << 16 }, (_, i) => i);
const brainToFloat = (brain: Uint16Array): Float32Array =>
  new Float32Array(Uint32Array.from(brain, (bits) => bits << 16).buffer);
const halfValues = table(() => Float32Array.from(patterns(), fromHalf));
const brainHalves = table(() => Uint16Array.from(brainToFloat(patterns()), toHalf));

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
  if (from === 'BF16') return to === 'f32' ? brainToFloat(words) : lookUp(words, brainHalves(), Uint16Array);
  return to === 'f32' ? lookUp(words, halfValues(), Float32Array) : words;
}

/** Uint16Array.from() with a function takes many times as long. */
function halves(values: Float32Array): Uint16Array {
  const out = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) out[i] = toHalf(values[i]!);
  return out;
}

function lookUp<T extends Float32Array | Uint16Array>(words: Uint16Array, values: T, make: new (n: number) => T): T {
  const out = new make(words.length);
  for (let i = 0; i < words.length; i++) out[i] = values[words[i]!]!;
  return out;
}

/** Index of the first infinity or NaN among elements that convert() gave, or -1. */
export function firstNonFinite(elements: Float32Array | Uint16Array): number {
  if (elements instanceof Float32Array) {
    // Bits, because a comparison of each number takes twice the time.
    const bits = new Uint32Array(elements.buffer, elements.byteOffset, elements.length);
    for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7f800000) === 0x7f800000) return i;
  } else {
    for (let i = 0; i < elements.length; i++) if ((elements[i]! & 0x7c00) === 0x7c00) return i;
  }
  return -1;
}
