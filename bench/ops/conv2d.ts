/** Convolutions 3 x 3 of the UNet, forward with f32 and f16 weights, and backward. */
import type { Device } from '../../engine/device/device.js';
import { conv2d } from '../../engine/ops/products/conv2d.js';
import { backward } from '../../engine/tensor/tape.js';
import type { DType } from '../../kernels/kernel.js';
import { conv2dBenchCases } from '../../test/cases/conv2d.js';
import type { BenchCase, Prepared, Reference, ShapeSet } from '../harness.js';
import { input } from './random.js';

/** A convolution with a 3 x 3 kernel, stride 1 and padding 1: the output has the input's height and width. */
interface Conv {
  readonly set: ShapeSet;
  readonly batch: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly size: number;
}

const shapes: readonly Conv[] = conv2dBenchCases.map(
  ({ bench: set, x: [batch, inChannels, size], weight: [outChannels] }) => ({
    set,
    batch,
    inChannels,
    outChannels,
    size,
  }),
);

const taps = Array.from({ length: 9 }, (_, tap) => ({ tap, dh: Math.floor(tap / 3) - 1, dw: (tap % 3) - 1 }));

/** y(n, o, i, j) = sum over c, dh, dw of x(n, c, i + dh, j + dw) weight(o, c, dh, dw). With `flip` = -1 it is the input's gradient. */
function convolution(conv: Conv, x: Float32Array, weight: Float32Array, flip: 1 | -1): Reference {
  const { size, inChannels, outChannels } = conv;
  const [from, to] = flip === 1 ? [inChannels, outChannels] : [outChannels, inChannels];
  return (index) => {
    const [column, row] = [index % size, Math.floor(index / size) % size];
    const channel = Math.floor(index / size ** 2) % to;
    const sample = Math.floor(index / (size ** 2 * to));
    let sum = 0;
    for (const { tap, dh, dw } of taps) {
      const [i, j] = [row + flip * dh, column + flip * dw];
      if (i < 0 || j < 0 || i >= size || j >= size) continue;
      for (let c = 0; c < from; c++) {
        const [o, ic] = flip === 1 ? [channel, c] : [c, channel];
        sum += x[((sample * from + c) * size + i) * size + j]! * weight[(o * inChannels + ic) * 9 + tap]!;
      }
    }
    return sum;
  };
}

/** dWeight(o, c, dh, dw) = sum over n, i, j of dy(n, o, i, j) x(n, c, i + dh, j + dw). */
function weightGrad({ batch, size, inChannels, outChannels }: Conv, x: Float32Array, dy: Float32Array): Reference {
  return (index) => {
    const { dh, dw } = taps[index % 9]!;
    const channel = Math.floor(index / 9) % inChannels;
    const out = Math.floor(index / (9 * inChannels));
    let sum = 0;
    for (let n = 0; n < batch; n++) {
      for (let i = Math.max(0, -dh); i < Math.min(size, size - dh); i++) {
        for (let j = Math.max(0, -dw); j < Math.min(size, size - dw); j++) {
          const source = ((n * inChannels + channel) * size + i + dh) * size + j + dw;
          sum += dy[((n * outChannels + out) * size + i) * size + j]! * x[source]!;
        }
      }
    }
    return sum;
  };
}

function inputs(device: Device, { batch, inChannels, outChannels, size }: Conv, dtype: DType = 'f32') {
  return {
    x: input(device, [batch, inChannels, size, size], 1),
    weight: input(device, [outChannels, inChannels, 3, 3], 2, { dtype, scale: (9 * inChannels) ** -0.5 }),
  };
}

function prepareForward(device: Device, conv: Conv, dtype: DType): Prepared {
  const { x, weight } = inputs(device, conv, dtype);
  const bias = input(device, [conv.outChannels], 3);
  const reference = convolution(conv, x.values, weight.values, 1);
  return {
    body: () => [conv2d(x.tensor, weight.tensor, bias.tensor, { padding: 1 })],
    references: [(index) => reference(index) + bias.values[Math.floor(index / conv.size ** 2) % conv.outChannels]!],
  };
}

function prepareBackward(device: Device, conv: Conv): Prepared {
  const { x, weight } = inputs(device, conv);
  const dy = input(device, [conv.batch, conv.outChannels, conv.size, conv.size], 4);
  x.tensor.requireGrad();
  weight.tensor.requireGrad();
  return {
    body: () => {
      const y = conv2d(x.tensor, weight.tensor, null, { padding: 1 });
      return backward(y, [x.tensor, weight.tensor], { seed: dy.tensor });
    },
    references: [convolution(conv, dy.values, weight.values, -1), weightGrad(conv, x.values, dy.values)],
  };
}

export const conv2dCases: readonly BenchCase[] = shapes.flatMap((conv): BenchCase[] => {
  const { set, batch, inChannels, outChannels, size } = conv;
  const shape = `${batch}x${inChannels}x${size}x${size} -> ${outChannels} k3`;
  const flops = 2 * 9 * batch * inChannels * outChannels * size ** 2;
  return [
    { op: 'conv2d', set, shape, dtype: 'f32', flops, prepare: (device) => prepareForward(device, conv, 'f32') },
    { op: 'conv2d', set, shape, dtype: 'f16', flops, prepare: (device) => prepareForward(device, conv, 'f16') },
    {
      op: 'conv2d backward',
      set,
      shape,
      dtype: 'f32',
      flops: 3 * flops,
      prepare: (device) => prepareBackward(device, conv),
    },
  ];
});
