/** Convolution of images as an implicit matrix product over channels-last copies, and its gradients. */
import type { Conv2dSize } from '../../../kernels/conv2d.js';
import { check } from '../../errors.js';
import { defineOp, once } from '../../tensor/op.js';
import { scope } from '../../tensor/scope.js';
import { formatShape, sameShape } from '../../tensor/shape.js';
import { isFloat, type Tensor } from '../../tensor/tensor.js';
import { channelsLast, conv2dBiasGrad, conv2dProduct, conv2dWeightGrad } from './conv2d_parts.js';

/** Options of conv2d. */
export interface Conv2dOptions {
  /** Step of the window in both directions. Default 1. */
  readonly stride?: number;
  /** Zeros around the image: the same on all sides, or [top, bottom, left, right]. Default 0. */
  readonly padding?: number | readonly [number, number, number, number];
  /** Added to the result; of its shape and dtype. */
  readonly residual?: Tensor | null;
}

/**
 * y[n, o] = bias[o] + sum over c of x[n, c] * weight[o, c] (cross-correlation, as in PyTorch) + residual[n, o].
 * x is [N, C, H, W] in f32 or f16, weight [O, C, kh, kw] in f32 or f16, bias [O] or null, y [N, O, H', W'] of x's dtype
 * with H' = floor((H + top + bottom - kh) / stride) + 1. Throws when sizes do not fit.
 */
export function conv2d(x: Tensor, weight: Tensor, bias: Tensor | null, options: Conv2dOptions = {}): Tensor {
  return convolve(x, weight, bias, options.residual ?? null, options);
}

const convolve = defineOp(
  'conv2d',
  (x: Tensor, weight: Tensor, bias: Tensor | null, residual: Tensor | null, options: Conv2dOptions) => {
    const size = sizeOf(x, weight, options);
    const { batch, outChannels, outHeight, outWidth } = size;
    const shape = [batch, outChannels, outHeight, outWidth];
    for (const input of [x, weight, bias, residual]) {
      check(!input || isFloat(input), () => `expected tensors of f32 or f16, found ${input}`);
    }
    check(!bias || sameShape(bias.shape, [outChannels]), () => `expected a bias of [${outChannels}], found ${bias}`);
    check(
      !residual || (sameShape(residual.shape, shape) && residual.dtype === x.dtype),
      () => `expected a residual of ${formatShape(shape)} ${x.dtype}, found ${residual}`,
    );
    const y = scope(x.device, () => conv2dProduct(size, 'forward', channelsLast(x), weight, { bias, residual }));
    return [
      y,
      (dy) => {
        const last = once(() => channelsLast(dy));
        return [
          () => conv2dProduct(size, 'inputGrad', last(), weight),
          () => conv2dWeightGrad(size, x, last(), weight),
          bias ? () => conv2dBiasGrad(dy, bias) : undefined,
          () => dy,
        ];
      },
    ];
  },
);

/** The sizes of a convolution, after checking that its window fits. */
function sizeOf(x: Tensor, weight: Tensor, { stride = 1, padding = 0 }: Conv2dOptions): Conv2dSize {
  check(x.rank === 4, () => `expected x of [N, C, H, W], found ${x}`);
  check(weight.rank === 4, () => `expected a weight of [O, C, kh, kw], found ${weight}`);
  const [batch, channels, height, width] = x.dims(4);
  const [outChannels, inChannels, kernelHeight, kernelWidth] = weight.dims(4);
  check(
    inChannels === channels,
    () => `channels differ: x is ${x}, weight ${weight}; expected a weight of [O, ${channels}, kh, kw]`,
  );
  check(Number.isInteger(stride) && stride >= 1, () => `expected a stride of 1 or more, found ${stride}`);
  const sides = typeof padding === 'number' ? [padding, padding, padding, padding] : padding;
  check(
    sides.length === 4 && sides.every((side) => Number.isInteger(side) && side >= 0),
    () => `expected a padding of 0 or more, or [top, bottom, left, right], found [${padding}]`,
  );
  const [top, bottom, left, right] = sides as [number, number, number, number];
  const [paddedHeight, paddedWidth] = [height + top + bottom, width + left + right];
  check(
    kernelHeight <= paddedHeight && kernelWidth <= paddedWidth,
    () => `the window of weight ${weight} is larger than x ${x} padded to ${paddedHeight} x ${paddedWidth}`,
  );
  return {
    batch,
    channels,
    height,
    width,
    outChannels,
    outHeight: Math.floor((paddedHeight - kernelHeight) / stride) + 1,
    outWidth: Math.floor((paddedWidth - kernelWidth) / stride) + 1,
    kernelHeight,
    kernelWidth,
    stride,
    paddingTop: top,
    paddingLeft: left,
  };
}
