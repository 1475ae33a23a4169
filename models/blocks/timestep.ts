/** Timesteps as vectors: sinusoids of many frequencies, and the two layers after them. */
import { cast, concat, cos, type Linear, mul, pad, reshape, sin, type Tensor, tensor } from '../../engine/index.js';
import { linear } from './layers.js';
import type { Parameters } from './parameters.js';

export interface SinusoidOptions {
  /** Whether the cosines come before the sines, as every network here has it. Default false. */
  readonly flipSinToCos?: boolean;
  /** 0 or 1: what is subtracted from half the width in the denominator of the frequencies. Default 1. */
  readonly shift?: number;
}

/**
 * Sinusoidal embedding (Vaswani et al. 2017, section 3.5): [sin(t f_k) | cos(t f_k)] with f_k = 10000^(-k / (half - shift)),
 * half = floor(width / 2) frequencies; an odd width ends in a zero. `timesteps` is [N] in f32 or u32, the result
 * [N, width] in f32. The products are rounded to f32 as in PyTorch: at t = 999 one more bit moves the sines by 6e-5.
 */
export function timestepEmbedding(
  timesteps: Tensor,
  width: number,
  { flipSinToCos = false, shift = 1 }: SinusoidOptions = {},
): Tensor {
  const [samples] = timesteps.dims(1);
  const half = Math.floor(width / 2);
  const table = tensor(timesteps.device, frequencies(half, shift), [1, half]);
  const t = timesteps.dtype === 'f32' ? timesteps : cast(timesteps, 'f32');
  const angles = mul(reshape(t, [samples, 1]), table);
  const sinusoids = concat(flipSinToCos ? [cos(angles), sin(angles)] : [sin(angles), cos(angles)], 1);
  return width % 2 === 0
    ? sinusoids
    : pad(sinusoids, [
        [0, 0],
        [0, 1],
      ]);
}

/** f_k, each operation rounded to f32 as PyTorch does. */
function frequencies(half: number, shift: number): Float32Array {
  const { fround } = Math;
  return Float32Array.from({ length: half }, (_, k) =>
    Math.exp(fround(fround(fround(-Math.log(10000)) * k) / (half - shift))),
  );
}

/** linear_2(silu(linear_1(x))): x is [N, inFeatures], the result [N, features]. The weights are `linear_1` and `linear_2`. */
export class TimestepEmbedding {
  private readonly linear1: Linear;
  private readonly linear2: Linear;

  constructor(parameters: Parameters, inFeatures: number, features: number) {
    this.linear1 = linear(parameters, 'linear_1', inFeatures, features);
    this.linear2 = linear(parameters, 'linear_2', features, features);
  }

  forward(x: Tensor): Tensor {
    return this.linear2.forward(this.linear1.forward(x, { activation: 'silu' }));
  }
}
