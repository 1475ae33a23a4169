import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { linear } from '../../../engine/ops/products/linear.js';
import { scope } from '../../../engine/tensor/scope.js';
import {
  candidatesOf,
  choicesOf,
  measureKernels,
  parseKernels,
  storedKernels,
  storeKernels,
} from '../../../engine/tuning/kernel_choice.js';
import { shapeClasses } from '../../../kernels/choice.js';
import { planConv2d, planConv2dWeightGrad } from '../../../kernels/conv2d.js';
import { planMatmul } from '../../../kernels/matmul.js';
import { expectClose, random, testDevice, tolerance, upload } from '../../check.js';
import { temporaryFolder } from '../../temporary.js';

const device = await testDevice();
const folder = temporaryFolder();
const problem = { m: 8, n: 8, k: 8, a: 'f32', b: 'f32', y: 'f32' } as const;
const conv = {
  ...{ batch: 1, channels: 8, height: 8, width: 8, outChannels: 8, outHeight: 8, outWidth: 8 },
  ...{ kernelHeight: 3, kernelWidth: 3, stride: 1, paddingTop: 1, paddingLeft: 1 },
};

test.skipIf(!device.features.timestamps)(
  'measuring compares every kernel of every class that has several, and the device takes the fastest',
  async () => {
    const before = device.features;
    const trials = await measureKernels(device);
    const several = shapeClasses.filter((name) => candidatesOf(name, before).length > 1);
    expect(several.length).toBeGreaterThan(0);
    expect(trials.map(({ shapeClass }) => shapeClass)).toEqual(several);
    for (const { shapeClass, milliseconds, chosen } of trials) {
      expect(Object.keys(milliseconds)).toEqual(candidatesOf(shapeClass, before));
      const times = Object.values(milliseconds);
      expect(Math.min(...times)).toBeGreaterThan(0);
      expect(milliseconds[chosen]).toBeLessThanOrEqual(1.1 * Math.min(...times));
    }
    expect(device.features.choices).toEqual(choicesOf(trials));
    device.useKernels({});
  },
);

test('a chosen kernel is what plans take for its class alone, and it computes the same', async () => {
  const [x, weight] = [random([5, 12], 1), random([7, 12], 2)];
  const product = async (): Promise<ArrayLike<number>> => {
    const y = scope(device, () => linear(upload(device, x), upload(device, weight), null));
    const values = await y.data();
    y.dispose();
    return values;
  };
  const usual = await product();
  device.useKernels({ matmul: 'matmul_tiled', conv2d: 'conv2d_tiled' });
  const { features } = device;
  expect(planMatmul(problem, features).kernel).toBe('matmul_tiled');
  expect(
    planConv2d(conv, 'forward', { dtype: 'f32', weight: 'f32', bias: null, residual: false }, features).kernel,
  ).toBe('conv2d_tiled');
  expectClose(await product(), Array.from(usual), tolerance('f32', 12), 'linear by the tiled kernel');
  device.useKernels({});
  for (const other of [
    { ...problem, transposeA: true },
    { ...problem, b: 'f16' as const },
  ])
    expect(planMatmul(other, features).kernel).toBe(planMatmul(other, device.features).kernel);
  expect(planConv2dWeightGrad(conv, 'f32', features).plan.kernel).toBe(
    planConv2dWeightGrad(conv, 'f32', device.features).plan.kernel,
  );
});

test('a kernel that does not run here is left to the table, and subgroup matrices stay what f16 takes', () => {
  const none = { ...device.features, subgroups: false, subgroupSize: 0, choices: { matmul: 'matmul_subgroup' } };
  expect(planMatmul(problem, none).kernel).toBe('matmul_tiled');
  const tensorCores = {
    ...device.features,
    f16: true,
    subgroups: true,
    subgroupSize: 32,
    subgroupMatrix: 'native',
  } as const;
  const choices = { matmul_f16_weight: 'matmul_tiled' };
  expect(planMatmul({ ...problem, a: 'f16', b: 'f16' }, { ...tensorCores, choices }).kernel).toBe(
    'matmul_subgroup_matrix',
  );
});

test('choices are kept by adapter, and a file that can not be read counts as none', () => {
  const { info } = device;
  expect(storedKernels(info, folder)).toBeUndefined();
  storeKernels(info, { matmul: 'matmul_tiled' }, folder);
  storeKernels({ ...info, device: 'another' }, { conv2d: 'conv2d_tiled' }, folder);
  expect(storedKernels(info, folder)).toEqual({ matmul: 'matmul_tiled' });
  writeFileSync(join(folder, 'kernels.json'), '{');
  expect(storedKernels(info, folder)).toBeUndefined();
});

test('named kernels are read, or what is unknown is named', () => {
  const { features } = device;
  expect(parseKernels('matmul=matmul_tiled, conv2d=conv2d_tiled', features)).toEqual({
    matmul: 'matmul_tiled',
    conv2d: 'conv2d_tiled',
  });
  expect(() => parseKernels('matmull=matmul_tiled', features)).toThrow('expected one of matmul, ');
  expect(() => parseKernels('matmul=fast', features)).toThrow('matmul is "fast", expected ');
});
