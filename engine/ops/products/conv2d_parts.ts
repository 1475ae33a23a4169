/** What convolution and its transpose are made of: channels-last copies, and products with the weight and for it. */
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
} from '../../../kernels/conv2d.js';
import { dispatch } from '../../tensor/op.js';
import { scope } from '../../tensor/scope.js';
import { empty, emptyLike, type Tensor } from '../../tensor/tensor.js';
import { inDtype } from '../elementwise.js';
import { sum } from '../reduce.js';

/** The channels-last copy of an image [N, C, H, W]. */
export function channelsLast(x: Tensor): Tensor {
  const [batch, channels, height, width] = x.dims(4);
  const y = emptyLike(x, [channelsLastSize(batch, channels, height * width)]);
  dispatch(planChannelsLast(batch, channels, height * width, x.dtype), { x, y });
  return y;
}

/** The result of the convolution from x, or its input gradient from dy; the source is channels-last. */
export function conv2dProduct(
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

/** The weight's gradient, of its dtype, from x and the channels-last dy. */
export function conv2dWeightGrad(size: Conv2dSize, x: Tensor, dy: Tensor, weight: Tensor): Tensor {
  const { device } = x;
  return scope(device, () => {
    const { plan, parts } = planConv2dWeightGrad(size, x.dtype, device.features);
    const dweight = empty(device, parts === 1 ? weight.shape : [parts, ...weight.shape]);
    dispatch(plan, { x: channelsLast(x), dy, dweight });
    return inDtype(parts === 1 ? dweight : sum(dweight, 0), weight.dtype);
  });
}

/** The bias's gradient, of its dtype. */
export function conv2dBiasGrad(dy: Tensor, bias: Tensor): Tensor {
  return inDtype(sum(dy, [0, 2, 3]), bias.dtype);
}
