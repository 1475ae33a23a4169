/** Group norm (with SiLU, as in the UNet), layer norm and RMS norm: forward, and backward of the first two. */
import type { Device } from '../../engine/device/device.js';
import { groupNorm, layerNorm, rmsNorm } from '../../engine/ops/norm.js';
import { backward } from '../../engine/tensor/tape.js';
import { groupNormBenchCases, layerNormBenchCases } from '../../test/cases/norm.js';
import * as naive from '../../test/references/norm.js';
import type { BenchCase, Prepared } from '../harness.js';
import { elementsOf, input } from './random.js';

const images = groupNormBenchCases.map(({ bench: set, shape, groups }) => {
  const [batch, channels, size] = shape as [number, number, number];
  return { set, batch, channels, size, groups };
});
const tokens = layerNormBenchCases.map(({ bench: set, shape }) => {
  const [rows, channels] = shape as [number, number];
  return { set, rows, channels };
});
const eps = 1e-5;

/** Mean and 1 / standard deviation of `count` elements from `first`, in double precision. */
function moments(x: Float32Array, first: number, count: number): { mean: number; rstd: number } {
  const part = x.subarray(first, first + count);
  const mean = part.reduce((sum, value) => sum + value, 0) / count;
  const variance = part.reduce((sum, value) => sum + (value - mean) ** 2, 0) / count;
  return { mean, rstd: 1 / Math.sqrt(variance + eps) };
}

/**
 * Gradient with respect to the input of y = xhat weight + bias at `index`, where `first` and `count` delimit what is
 * normalised together: rstd (g - mean(g) - xhat mean(g xhat)), g = dy weight.
 */
function inputGrad(x: Float32Array, first: number, count: number, g: (i: number) => number, index: number): number {
  const { mean, rstd } = moments(x, first, count);
  let sum = 0;
  let projected = 0;
  for (let i = first; i < first + count; i++) {
    sum += g(i);
    projected += g(i) * (x[i]! - mean) * rstd;
  }
  return rstd * (g(index) - sum / count - ((x[index]! - mean) * rstd * projected) / count);
}

type Image = (typeof images)[number];

function prepareGroupNorm(device: Device, { batch, channels, size, groups }: Image, silu: boolean): Prepared {
  const x = input(device, [batch, channels, size, size], 1);
  const weight = input(device, [channels], 2);
  const bias = input(device, [channels], 3);
  return {
    body: () => [groupNorm(x.tensor, weight.tensor, bias.tensor, { groups, eps, silu })],
    references: [
      elementsOf((...of) => naive.groupNorm(of[0]!, of[1]!, of[2]!, { groups, eps, silu }), x, weight, bias),
    ],
  };
}

function prepareGroupNormBackward(device: Device, { batch, channels, size, groups }: Image): Prepared {
  const x = input(device, [batch, channels, size, size], 1);
  const weight = input(device, [channels], 2);
  const bias = input(device, [channels], 3);
  const dy = input(device, x.tensor.shape, 4);
  const wrt = [x, weight, bias].map(({ tensor }) => tensor.requireGrad());
  const count = (channels / groups) * size ** 2;
  const g = (i: number): number => dy.values[i]! * weight.values[Math.floor(i / size ** 2) % channels]!;
  const overChannel = (value: (i: number) => number) => (channel: number) => {
    let sum = 0;
    for (let n = 0; n < batch; n++) {
      const first = (n * channels + channel) * size ** 2;
      for (let i = first; i < first + size ** 2; i++) sum += value(i);
    }
    return sum;
  };
  const normalised = (i: number): number => {
    const { mean, rstd } = moments(x.values, Math.floor(i / count) * count, count);
    return (x.values[i]! - mean) * rstd;
  };
  return {
    body: () => backward(groupNorm(x.tensor, weight.tensor, bias.tensor, { groups, eps }), wrt, { seed: dy.tensor }),
    references: [
      (i) => inputGrad(x.values, Math.floor(i / count) * count, count, g, i),
      overChannel((i) => dy.values[i]! * normalised(i)),
      overChannel((i) => dy.values[i]!),
    ],
    samples: 8,
  };
}

type Rows = (typeof tokens)[number];

function prepareLayerNorm(device: Device, { rows, channels }: Rows): Prepared {
  const x = input(device, [rows, channels], 1);
  const weight = input(device, [channels], 2);
  const bias = input(device, [channels], 3);
  return {
    body: () => [layerNorm(x.tensor, weight.tensor, bias.tensor, { eps })],
    references: [elementsOf((...of) => naive.layerNorm(of[0]!, of[1]!, of[2]!, { eps }), x, weight, bias)],
  };
}

function prepareLayerNormBackward(device: Device, { rows, channels }: Rows): Prepared {
  const x = input(device, [rows, channels], 1);
  const weight = input(device, [channels], 2);
  const dy = input(device, [rows, channels], 3);
  x.tensor.requireGrad();
  const g = (i: number): number => dy.values[i]! * weight.values[i % channels]!;
  return {
    body: () => backward(layerNorm(x.tensor, weight.tensor, null, { eps }), [x.tensor], { seed: dy.tensor }),
    references: [(i) => inputGrad(x.values, i - (i % channels), channels, g, i)],
  };
}

function prepareRmsNorm(device: Device, { rows, channels }: Rows): Prepared {
  const x = input(device, [rows, channels], 1);
  const weight = input(device, [channels], 2);
  return {
    body: () => [rmsNorm(x.tensor, weight.tensor, { eps })],
    references: [elementsOf((...of) => naive.rmsNorm(of[0]!, of[1]!, { eps }), x, weight)],
  };
}

export const normCases: readonly BenchCase[] = [
  ...images.flatMap((image): BenchCase[] => {
    const { set, batch, channels, size, groups } = image;
    const shape = `${batch}x${channels}x${size}x${size} g${groups}`;
    const bytes = 4 * batch * channels * size ** 2;
    return [
      {
        op: 'groupNorm',
        set,
        shape,
        dtype: 'f32',
        bytes: 2 * bytes,
        prepare: (device) => prepareGroupNorm(device, image, false),
      },
      {
        op: 'groupNorm silu',
        set,
        shape,
        dtype: 'f32',
        bytes: 2 * bytes,
        prepare: (device) => prepareGroupNorm(device, image, true),
      },
      {
        op: 'groupNorm backward',
        set,
        shape,
        dtype: 'f32',
        bytes: 5 * bytes,
        prepare: (device) => prepareGroupNormBackward(device, image),
      },
    ];
  }),
  ...tokens.flatMap((entry): BenchCase[] => {
    const { set, rows, channels } = entry;
    const shape = `${rows}x${channels}`;
    const bytes = 4 * rows * channels;
    return [
      {
        op: 'layerNorm',
        set,
        shape,
        dtype: 'f32',
        bytes: 2 * bytes,
        prepare: (device) => prepareLayerNorm(device, entry),
      },
      {
        op: 'layerNorm backward',
        set,
        shape,
        dtype: 'f32',
        bytes: 5 * bytes,
        prepare: (device) => prepareLayerNormBackward(device, entry),
      },
      { op: 'rmsNorm', set, shape, dtype: 'f32', bytes: 2 * bytes, prepare: (device) => prepareRmsNorm(device, entry) },
    ];
  }),
];
