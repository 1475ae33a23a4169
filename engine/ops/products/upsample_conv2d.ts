/** Nearest-neighbour upsampling and the convolution behind it as one transposed convolution. */
import type { Conv2dSize } from '../../../kernels/conv2d.js';
import { check } from '../../errors.js';
import { defineOp } from '../../tensor/op.js';
import { scope } from '../../tensor/scope.js';
import { isFloat, type Tensor, tensor } from '../../tensor/tensor.js';
import { inDtype } from '../elementwise.js';
import { permute, reshape } from '../shape.js';
import { channelsLast, conv2dBiasGrad, conv2dProduct, conv2dWeightGrad } from './conv2d_parts.js';
import { matmul } from './matmul.js';

/**
 * conv2d(upsampleNearest(x, { scale: 2 }), weight, bias, { padding: 1 }) for a 3x3 window, without the large image: of the
 * nine pixels under the window at most four are different, so that four products with sums of weights do for nine.
 * x is [N, C, H, W] in f32 or f16, weight [O, C, 3, 3] in f32 or f16, bias [O] or null, y [N, O, 2H, 2W] of x's dtype.
 */
export function upsampleConv2d(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
  check(
    x.rank === 4 &&
      weight.rank === 4 &&
      weight.shape[1] === x.shape[1] &&
      weight.shape[2] === 3 &&
      weight.shape[3] === 3,
    () => `upsampleConv2d: expected x [N, C, H, W] and a weight [O, C, 3, 3], found ${x} and ${weight}`,
  );
  return transposed(x, foldedWeight(weight), bias);
}

/** Which taps of the window of 3 meet a source pixel at tap t of the window of 4, along one axis. */
const tapsOf = [[2], [1, 2], [0, 1], [0]] as const;

/** [C, O, 4, 4]: the weight, in f32, of the convolution with stride 2 and padding 1 whose input gradient is what is asked for. */
function foldedWeight(weight: Tensor): Tensor {
  const [outChannels, channels] = weight.dims(4);
  const shares = tapsOf.flatMap((rows) =>
    tapsOf.flatMap((columns) =>
      Array.from({ length: 9 }, (_, tap) => {
        const [row, column] = [Math.floor(tap / 3), tap % 3];
        return (rows as readonly number[]).includes(row) && (columns as readonly number[]).includes(column) ? 1 : 0;
      }),
    ),
  );
  const windows = reshape(inDtype(weight, 'f32'), [outChannels * channels, 9]);
  const folded = matmul(windows, tensor(weight.device, shares, [16, 9]), { transposeB: true });
  return permute(reshape(folded, [outChannels, channels, 4, 4]), [1, 0, 2, 3]);
}

/** The transposed convolution of x with weight [C, O, 4, 4], stride 2, padding 1. */
const transposed = defineOp('upsampleConv2d', (x: Tensor, weight: Tensor, bias: Tensor | null) => {
  check(isFloat(x) && (!bias || isFloat(bias)), () => `expected f32 or f16, found ${x} and a bias ${bias}`);
  const [batch, outChannels, height, width] = x.dims(4);
  const [, channels] = weight.dims(4);
  // The convolution of the large image, of which this is the transpose.
  const size: Conv2dSize = {
    ...{ batch, channels, height: 2 * height, width: 2 * width },
    ...{ outChannels, outHeight: height, outWidth: width },
    ...{ kernelHeight: 4, kernelWidth: 4, stride: 2, paddingTop: 1, paddingLeft: 1 },
  };
  const y = scope(x.device, () => conv2dProduct(size, 'inputGrad', channelsLast(x), weight, { bias }));
  return [
    y,
    (dy) => [
      () => scope(dy.device, () => conv2dProduct(size, 'forward', channelsLast(dy), weight)),
      () => conv2dWeightGrad(size, dy, channelsLast(x), weight),
      bias ? () => conv2dBiasGrad(dy, bias) : undefined,
    ],
  ];
});
