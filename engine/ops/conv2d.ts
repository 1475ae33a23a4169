/** Convolution of images as an implicit matrix product over channels-last copies, and its gradients. */
import {
  type Conv2dDirection,
  type Conv2dSize,
  type Conv2dTypes,
  channelsLastSize,
  conv2dWeightWords,
  planChannelsLast,
  planConv2d,
  planConv2dWeight,
  planConv2dWeightGrad,
} from '../../kernels/conv2d.js';
import { check } from '../errors.js';
import { defineOp, dispatch, once } from '../op.js';
import { scope } from '../scope.js';
import { formatShape, sameShape } from '../shape.js';
import { empty, emptyLike, isFloat, type Tensor } from '../tensor.js';
import { cast } from './elementwise.js';
import { sum } from './reduce.js';

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
    const y = scope(x.device, () => product(size, 'forward', channelsLast(x), weight, { bias, residual }));
    return [
      y,
      (dy) => {
        const last = once(() => channelsLast(dy));
        return [
          () => product(size, 'inputGrad', last(), weight),
          () => weightGrad(size, x, last(), weight),
          bias ? () => castTo(sum(dy, [0, 2, 3]), bias) : undefined,
          () => dy,
        ];
      },
    ];
  },
);

const castTo = (x: Tensor, like: Tensor): Tensor => (x.dtype === like.dtype ? x : cast(x, like.dtype));

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

/** The channels-last copy of an image [N, C, H, W]. */
function channelsLast(x: Tensor): Tensor {
  const [batch, channels, height, width] = x.dims(4);
  const y = emptyLike(x, [channelsLastSize(batch, channels, height * width)]);
  dispatch(planChannelsLast(batch, channels, height * width, x.dtype), { x, y });
  return y;
}

/** The result of the convolution from x, or its input gradient from dy; the source is channels-last. */
function product(
  size: Conv2dSize,
  direction: Conv2dDirection,
  source: Tensor,
  weight: Tensor,
  { bias = null, residual = null }: { bias?: Tensor | null; residual?: Tensor | null } = {},
): Tensor {
  const { device, dtype } = source;
  return scope(device, () => {
    const matrix = empty(device, [conv2dWeightWords(size, weight.dtype)], 'u32');
    dispatch(planConv2dWeight(size, direction, weight.dtype), { weight, y: matrix });
    const forward = direction === 'forward';
    const { batch, channels, height, width, outChannels, outHeight, outWidth } = size;
    const result = emptyLike(
      source,
      forward ? [batch, outChannels, outHeight, outWidth] : [batch, channels, height, width],
    );
    const types: Conv2dTypes = { dtype, weight: weight.dtype, bias: bias?.dtype ?? null, residual: residual !== null };
    const plan = planConv2d(size, direction, types, device.features);
    dispatch(plan, { source, weight: matrix, bias, residual, result });
    return result;
  });
}

/** From x and the channels-last dy. */
function weightGrad(size: Conv2dSize, x: Tensor, dy: Tensor, weight: Tensor): Tensor {
  const { device } = x;
  return scope(device, () => {
    const { plan, parts } = planConv2dWeightGrad(size, x.dtype, device.features);
    const dweight = empty(device, parts === 1 ? weight.shape : [parts, ...weight.shape]);
    dispatch(plan, { x: channelsLast(x), dy, dweight });
    return castTo(parts === 1 ? dweight : sum(dweight, 0), weight);
  });
}
