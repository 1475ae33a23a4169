import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { groupNorm, layerNorm, rmsNorm } from '../../../engine/ops/norm.js';
import { transpose } from '../../../engine/ops/shape.js';
import { scope } from '../../../engine/tensor/scope.js';
import type { Tensor } from '../../../engine/tensor/tensor.js';
import { groupNormCases, layerNormCases } from '../../cases/norm.js';
import {
  checkBatchInvariance,
  checkForward,
  checkGradients,
  expectClose,
  type Host,
  host,
  random,
  testDevice,
  upload,
} from '../../check.js';
import * as reference from '../../references/norm.js';

const device = await testDevice();

/** A few ulps of a mean of 1000, in deviations of 0.6. E[x^2] - mean^2 would be off by a fifth. */
const farMeanTolerance = 2 ** -11;

describe('groupNorm', () => {
  for (const { name, shape, groups, silu = false } of groupNormCases) {
    const channels = shape[1]!;
    const options = { groups, silu };
    const inputs = [random(shape, 1), random([channels], 2, { low: 0.5, high: 1.5 }), random([channels], 3)];
    const terms = shape.slice(1).reduce((product, n) => product * n, 1);
    const run = (x: Tensor, weight: Tensor, bias: Tensor): Tensor => groupNorm(x, weight, bias, options);
    const expected = (x: Host, weight: Host, bias: Host): Host => reference.groupNorm(x, weight, bias, options);

    test(`${name}: value and gradients agree with double precision`, async () => {
      await checkForward(device, run, expected, inputs, { terms });
      await checkGradients(device, run, expected, inputs, { terms: terms * shape[0]! });
    });
  }

  test('a sample does not depend on its batch', async () => {
    const inputs = [random([3, 8, 5, 4], 1), random([8], 2), random([8], 3)];
    const run = (x: Tensor, weight: Tensor, bias: Tensor): Tensor =>
      groupNorm(x, weight, bias, { groups: 2, silu: true });
    await checkBatchInvariance(device, run, inputs, { batched: [0] });
  });

  test('a mean a thousand times the deviation costs no precision beyond its rounding', async () => {
    const x = random([2, 4, 32, 32], 1, { low: 999, high: 1001 });
    const ones = host([4], [1, 1, 1, 1]);
    const zeros = host([4], [0, 0, 0, 0]);
    const expected = reference.groupNorm(x, ones, zeros, { groups: 2 });
    const y = scope(device, () =>
      groupNorm(upload(device, x), upload(device, ones), upload(device, zeros), { groups: 2 }),
    );
    const actual = await y.data();
    y.dispose();
    expectClose(actual, expected.data, farMeanTolerance, 'value');
  });

  test.skipIf(!device.features.f16)('f16 computes in f32 and rounds once (needs shader-f16)', async () => {
    const dtype = 'f16';
    const inputs = [random([2, 8, 4, 4], 1, { dtype }), random([8], 2, { dtype }), random([8], 3, { dtype })];
    const options = { groups: 2, silu: true };
    const run = (x: Tensor, weight: Tensor, bias: Tensor): Tensor => groupNorm(x, weight, bias, options);
    const expected = (x: Host, weight: Host, bias: Host): Host => reference.groupNorm(x, weight, bias, options);
    for (const dtypes of [
      ['f16', 'f16', 'f16'],
      ['f32', 'f16', 'f16'],
    ] as const) {
      await checkForward(device, run, expected, inputs, { terms: 64, dtypes });
      await checkGradients(device, run, expected, inputs, { terms: 64, dtypes });
    }
  });

  test('what does not fit is refused with the shapes', () => {
    scope(device, () => {
      const x = upload(device, random([2, 6, 4], 1));
      const weight = upload(device, random([6], 2));
      const few = upload(device, random([5], 2));
      expect(() => groupNorm(x, weight, weight, { groups: 4 })).toThrow(
        'groupNorm: 6 channels do not divide into 4 groups',
      );
      expect(() => groupNorm(x, few, weight, { groups: 2 })).toThrow('groupNorm: weight is [5] f32, expected [6]');
      expect(() => groupNorm(weight, weight, weight, { groups: 2 })).toThrow('expected x [N, C, ...]');
    });
  });
});

describe('layerNorm', () => {
  for (const { name, shape, weight = false, bias = false, modulated = false } of layerNormCases) {
    const columns = shape.at(-1)!;
    const parts = [weight, bias, modulated, modulated];
    const shapes = [[columns], [columns], [shape[1]!, columns], [shape[1]!, columns]];
    const inputs = [random(shape, 1), ...shapes.flatMap((part, i) => (parts[i] ? [random(part, 2 + i)] : []))];
    /** The tensors that are there, back at their places. */
    const place = <T>(given: readonly T[]): [T | null, T | null, { scale?: T; shift?: T }] => {
      const rest = [...given];
      const [w, b, scale, shift] = parts.map((there) => (there ? rest.shift()! : null));
      return [w!, b!, scale && shift ? { scale, shift } : {}];
    };
    const run = (x: Tensor, ...rest: Tensor[]): Tensor => layerNorm(x, ...place(rest));
    const expected = (x: Host, ...rest: Host[]): Host => reference.layerNorm(x, ...place(rest));

    test(`${name}: value and gradients agree with double precision`, async () => {
      await checkForward(device, run, expected, inputs, { terms: columns });
      await checkGradients(device, run, expected, inputs, { terms: random(shape, 1).data.length });
    });
  }

  test('a sample, and the gradients of its modulation, do not depend on its batch', async () => {
    const inputs = [random([3, 70, 8], 1), random([3, 8], 2), random([3, 8], 3)];
    // The batch is the axis that is told apart, so it comes first outside.
    const run = (x: Tensor, scale: Tensor, shift: Tensor): Tensor =>
      transpose(layerNorm(transpose(x, 0, 1), null, null, { scale, shift }), 0, 1);
    await checkBatchInvariance(device, run, inputs, { batched: [0, 1, 2] });
  });

  test('a mean a thousand times the deviation costs no precision beyond its rounding', async () => {
    const x = random([8, 320], 1, { low: 999, high: 1001 });
    const y = scope(device, () => layerNorm(upload(device, x)));
    const actual = await y.data();
    y.dispose();
    expectClose(actual, reference.layerNorm(x, null, null).data, farMeanTolerance, 'value');
  });

  test.skipIf(!device.features.f16)('f16 rows with f32 parameters (needs shader-f16)', async () => {
    const inputs = [random([2, 5, 8], 1, { dtype: 'f16' }), random([8], 2), random([8], 3)];
    const checks = { terms: 80, dtypes: ['f16', 'f32', 'f32'] } as const;
    const run = (x: Tensor, weight: Tensor, bias: Tensor): Tensor => layerNorm(x, weight, bias);
    const expected = (x: Host, weight: Host, bias: Host): Host => reference.layerNorm(x, weight, bias);
    await checkForward(device, run, expected, inputs, checks);
    // The incoming gradient is f16 like y: the parameters' gradients, in f32, could not meet f32's tolerance.
    await checkGradients(device, run, expected, inputs, { ...checks, wrt: [0] });
  });

  test('what does not fit is refused with the shapes', () => {
    scope(device, () => {
      const x = upload(device, random([3, 2, 4], 1));
      const row = upload(device, random([4], 2));
      const scale = upload(device, random([2, 4], 2));
      expect(() => layerNorm(x, null, row)).toThrow('layerNorm: bias is [4] f32, weight null; expected both');
      expect(() => layerNorm(x, null, null, { scale })).toThrow('expected scale and shift together');
      expect(() => layerNorm(x, null, null, { scale, shift: row })).toThrow('shift is [4] f32, expected [2, 4]');
      expect(() => layerNorm(scale, null, null, { scale, shift: scale })).toThrow('expected x [T, B, C]');
    });
  });
});

describe('rmsNorm', () => {
  for (const shape of [
    [3, 70, 12],
    [5, 13],
  ]) {
    test(`of [${shape}]: value and gradients agree with double precision`, async () => {
      const inputs = [random(shape, 1), random([shape.at(-1)!], 2)];
      const terms = inputs[0]!.data.length;
      const run = (x: Tensor, weight: Tensor): Tensor => rmsNorm(x, weight);
      const expected = (x: Host, weight: Host): Host => reference.rmsNorm(x, weight);
      await checkForward(device, run, expected, inputs, { terms: shape.at(-1)! });
      await checkGradients(device, run, expected, inputs, { terms });
    });
  }

  test('without a weight', async () => {
    const run = (x: Tensor): Tensor => rmsNorm(x, null);
    const expected = (x: Host): Host => reference.rmsNorm(x, null);
    await checkForward(device, run, expected, [random([4, 9], 1)], { terms: 9 });
    await checkBatchInvariance(device, run, [random([3, 5, 9], 1)], { batched: [0] });
  });
});

describe('with several lanes a row, as on a GPU,', () => {
  const { features } = device;
  beforeAll(() => {
    Object.defineProperty(device, 'features', { value: { ...features, software: false } });
  });
  afterAll(() => {
    Object.defineProperty(device, 'features', { value: features });
  });

  for (const pixels of [
    [5, 13],
    [48, 45],
  ]) {
    test(`groupNorm of [2, 6, ${pixels}] agrees with double precision`, async () => {
      const inputs = [random([2, 6, ...pixels], 1), random([6], 2), random([6], 3)];
      const options = { groups: 2, silu: true };
      const run = (x: Tensor, weight: Tensor, bias: Tensor): Tensor => groupNorm(x, weight, bias, options);
      const expected = (x: Host, weight: Host, bias: Host): Host => reference.groupNorm(x, weight, bias, options);
      const terms = inputs[0]!.data.length;
      await checkForward(device, run, expected, inputs, { terms });
      await checkGradients(device, run, expected, inputs, { terms });
      await checkBatchInvariance(device, run, inputs, { batched: [0] });
    });
  }

  test('layerNorm and rmsNorm agree with double precision', async () => {
    const columns = 300;
    const inputs = [random([5, 3, columns], 1), random([columns], 2), random([3, columns], 3), random([3, columns], 4)];
    const run = (x: Tensor, _: Tensor, scale: Tensor, shift: Tensor): Tensor =>
      layerNorm(x, null, null, { scale, shift });
    const expected = (x: Host, _: Host, scale: Host, shift: Host): Host =>
      reference.layerNorm(x, null, null, { scale, shift });
    const terms = inputs[0]!.data.length;
    await checkForward(device, run, expected, inputs, { terms });
    await checkGradients(device, run, expected, inputs, { terms, wrt: [0, 2, 3] });
    // The batch is the axis that is told apart, so it comes first outside.
    const turned = (x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor): Tensor =>
      transpose(run(transpose(x, 0, 1), weight, scale, shift), 0, 1);
    const batchFirst = [random([3, 5, columns], 1), ...inputs.slice(1)];
    await checkBatchInvariance(device, turned, batchFirst, { batched: [0, 2, 3] });
    const rms = (x: Tensor, weight: Tensor): Tensor => rmsNorm(x, weight);
    const expectedRms = (x: Host, weight: Host): Host => reference.rmsNorm(x, weight);
    await checkForward(device, rms, expectedRms, inputs.slice(0, 2), { terms });
    await checkGradients(device, rms, expectedRms, inputs.slice(0, 2), { terms });
  });
});
