/** Inputs for benchmarks: the same numbers in every run. */
import type { Device } from '../../engine/device/device.js';
import { fromHalf, toHalf } from '../../engine/tensor/dtype.js';
import { type Shape, sizeOf } from '../../engine/tensor/shape.js';
import { type Tensor, tensor } from '../../engine/tensor/tensor.js';
import type { DType } from '../../kernels/kernel.js';
import { type Host, host } from '../../test/host.js';
import type { Reference } from '../harness.js';

/** Normal deviates (Box and Muller 1958) of a 32-bit generator (Marsaglia's xorshift, 2003), rounded to `dtype`. */
export function normals(count: number, seed: number, dtype: DType = 'f32', scale = 1): Float32Array {
  let state = (seed * 0x9e3779b9) | 1;
  const uniform = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 0) + 0.5) / 2 ** 32;
  };
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = scale * Math.sqrt(-2 * Math.log(uniform()));
    const angle = 2 * Math.PI * uniform();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
  }
  return dtype === 'f16' ? values.map((value) => fromHalf(toHalf(value))) : values;
}

/** A tensor of normal deviates and its values on the host. */
export interface Input {
  readonly tensor: Tensor;
  readonly values: Float32Array;
}

export function input(
  device: Device,
  shape: Shape,
  seed: number,
  { dtype = 'f32', scale = 1 }: { dtype?: DType; scale?: number } = {},
): Input {
  const values = normals(sizeOf(shape), seed, dtype, scale);
  return { tensor: tensor(device, values, shape, dtype), values };
}

/** Elements of a result of the tests' references, which compute all of it, once and not before one is asked for. */
export function elementsOf(compute: (...inputs: Host[]) => Host, ...inputs: readonly Input[]): Reference {
  let data: Float64Array | undefined;
  return (index) => {
    data ??= compute(...inputs.map(({ tensor: { shape }, values }) => host(shape, values))).data;
    return data[index]!;
  };
}
