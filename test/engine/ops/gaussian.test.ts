import { describe, expect, test } from 'vitest';
import { capture } from '../../../engine/device/capture.js';
import { add } from '../../../engine/ops/elementwise.js';
import { gaussianLogProb, gaussianMean, gaussianStep, packGaussianCoefficients } from '../../../engine/ops/gaussian.js';
import { sum } from '../../../engine/ops/reduce.js';
import { scope } from '../../../engine/tensor/scope.js';
import { backward } from '../../../engine/tensor/tape.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import {
  checkBatchInvariance,
  checkForward,
  checkGradients,
  expectClose,
  type Host,
  host,
  random,
  testDevice,
  tolerance,
  upload,
} from '../../check.js';
import * as reference from '../../references/gaussian.js';

const device = await testDevice();

/** Coefficients of a normal density with these means and deviations. */
function coefficients(rows: readonly (readonly [x: number, v: number, std: number])[]): Host {
  const packed = packGaussianCoefficients(
    rows.map(([x, v, std]) => {
      const density = { scale: 1 / (2 * std * std), offset: -Math.log(std) - 0.5 * Math.log(2 * Math.PI) };
      return { x, v, std, ...(std > 0 ? density : { scale: 0, offset: 0 }) };
    }),
  );
  return host([rows.length, 5], packed.map(Math.fround));
}

const rows = [
  [0.9, -0.2, 0.3],
  [1.1, 0.4, 1.5],
  [1, -0.05, 0.7],
] as const;

// Vectors of four or not; one chunk, several, and a last one that is not full.
const shapes = [
  [3, 4, 6],
  [3, 5, 3],
  [3, 2, 9000],
];

describe('gaussianLogProb', () => {
  for (const shape of shapes) {
    const terms = shape[1]! * shape[2]!;
    const inputs = [random(shape, 1), random(shape, 2), random(shape, 3, { low: -2, high: 2 }), coefficients(rows)];

    test(`of [${shape}]: log probability, mean and gradients to v agree with double precision`, async () => {
      const logProb = (...args: Tensor[]): Tensor =>
        gaussianLogProb(...(args as Parameters<typeof gaussianLogProb>))[0];
      const mean = (...args: Tensor[]): Tensor => gaussianLogProb(...(args as Parameters<typeof gaussianLogProb>))[1];
      const expectedMean = (v: Host, x: Host, _: Host, c: Host): Host => reference.gaussianMean(x, v, c);
      await checkForward(device, logProb, reference.gaussianLogProb, inputs, { terms });
      await checkForward(device, mean, expectedMean, inputs, { terms: 2 });
      if (terms > 100) return; // central differences of many elements drown in rounding
      await checkGradients(device, logProb, reference.gaussianLogProb, inputs, { terms, wrt: [0] });
      await checkGradients(device, mean, expectedMean, inputs, { terms: 2, wrt: [0] });
      const both = (...args: Tensor[]): Tensor => add(logProb(...args), sum(mean(...args), [1, 2]));
      const expectedBoth = (v: Host, x: Host, next: Host, c: Host): Host => {
        const { data } = reference.gaussianMean(x, v, c);
        const result = reference.gaussianLogProb(v, x, next, c);
        return {
          ...result,
          data: result.data.map(
            (value, n) => value + data.slice(n * terms, (n + 1) * terms).reduce((total, part) => total + part, 0),
          ),
        };
      };
      await checkGradients(device, both, expectedBoth, inputs, { terms, wrt: [0] });
    });
  }

  test('a sample does not depend on its batch', async () => {
    const inputs = [random([3, 9000], 1), random([3, 9000], 2), random([3, 9000], 3), coefficients(rows)];
    const run = (v: Tensor, x: Tensor, next: Tensor, c: Tensor): Tensor => gaussianLogProb(v, x, next, c)[0];
    await checkBatchInvariance(device, run, inputs, { batched: [0, 1, 2, 3], wrt: [0] });
  });

  test('the gradient through the mean alone is b for every element of a long sample', async () => {
    const size = 9001;
    const gradient = scope(device, () => {
      const [v, x, next] = [1, 2, 3].map((seed) => upload(device, random([1, size], seed)));
      const c = upload(device, coefficients(rows.slice(0, 1)));
      const [, mean] = gaussianLogProb(v!.requireGrad(), x!, next!, c);
      return backward(sum(mean), [v!])[0]!;
    });
    const b = coefficients(rows.slice(0, 1)).data[1]!;
    expectClose(await gradient.data(), Array(size).fill(b), tolerance('f32', 1), 'gradient');
    gradient.dispose();
  });

  test('both gradients of one call arrive together', async () => {
    const [v, x, next, c] = [random([2, 6], 1), random([2, 6], 2), random([2, 6], 3), coefficients(rows.slice(0, 2))];
    const gradient = scope(device, () => {
      const output = upload(device, v).requireGrad();
      const [logProb, mean] = gaussianLogProb(output, upload(device, x), upload(device, next), upload(device, c));
      return backward(add(sum(logProb), sum(mean)), [output])[0]!;
    });
    const mean = reference.gaussianMean(x, v, c).data;
    const values = await gradient.data();
    gradient.dispose();
    for (let i = 0; i < 12; i++) {
      const [, b, , scale] = c.data.subarray(5 * Math.floor(i / 6)) as unknown as [number, number, number, number];
      expect(values[i]).toBeCloseTo(b * (1 + (2 * scale * (next.data[i]! - mean[i]!)) / 6), 5);
    }
  });

  test('a deterministic step has log probability 0 and no gradient', async () => {
    const { logProb, gradient } = scope(device, () => {
      const [x, v] = [upload(device, random([1, 8], 1)), upload(device, random([1, 8], 2)).requireGrad()];
      const c = upload(device, coefficients([[1, -0.1, 0]]));
      const { next } = gaussianStep(x, v, upload(device, random([1, 8], 3)), c);
      const [logProb] = gaussianLogProb(v, x, next, c);
      return { logProb, gradient: backward(logProb, [v])[0]! };
    });
    expect([...(await logProb.data())]).toEqual([0]);
    expect([...(await gradient.data())].every((value) => value === 0)).toBe(true);
    logProb.dispose();
    gradient.dispose();
  });
});

describe('gaussianStep', () => {
  test('next is a x + b v + std noise, and gaussianMean leaves the noise out', async () => {
    const [x, v, noise, c] = [random([3, 5, 3], 1), random([3, 5, 3], 2), random([3, 5, 3], 3), coefficients(rows)];
    const expected = (a: Host, b: Host, z: Host, k: Host): Host => {
      const mean = reference.gaussianMean(a, b, k);
      return { ...mean, data: mean.data.map((value, i) => value + k.data[5 * Math.floor(i / 15) + 2]! * z.data[i]!) };
    };
    const run = (...args: Tensor[]): Tensor => gaussianStep(...(args as Parameters<typeof gaussianStep>)).next;
    await checkForward(device, run, expected, [x, v, noise, c], { terms: 3 });
    await checkForward(device, gaussianMean as typeof run, reference.gaussianMean, [x, v, c], { terms: 2 });
  });

  test('its log probability is that of gaussianLogProb, bit for bit, also from a captured step and another batch', async () => {
    for (const size of [24, 15, 9001]) {
      const [x, v, noise] = [random([3, size], 1), random([3, size], 2), random([3, size], 3)];
      const c = coefficients(rows);
      const inputs = [x, v, noise, c].map((input) => upload(device, input));
      const [latents, output, normal, table] = inputs as [Tensor, Tensor, Tensor, Tensor];
      const step = await capture(device, () => gaussianStep(latents, output, normal, table));
      step.run();
      const eager = scope(device, () => gaussianStep(latents, output, normal, table));
      expect(await eager.next.data()).toEqual(await step.outputs.next.data());
      expect(await eager.logProb.data()).toEqual(await step.outputs.logProb.data());
      const again = scope(device, () => gaussianLogProb(output, latents, eager.next, table));
      expect(await again[0].data()).toEqual(await eager.logProb.data());
      expect(await again[1].data()).toEqual(await eager.mean.data());
      for (const made of [...inputs, ...Object.values(eager), ...again]) made.dispose();
      step.dispose();
    }
  });

  test('one captured step serves every timestep: its coefficients are data', async () => {
    const [x, v] = [upload(device, random([1, 8], 1)), upload(device, random([1, 8], 2))];
    const table = upload(device, coefficients([rows[0]]));
    const step = await capture(device, () => gaussianMean(x, v, table));
    for (const row of rows) {
      table.write(coefficients([row]).data);
      step.run();
      const expected = scope(device, () => gaussianMean(x, v, upload(device, coefficients([row]))));
      expect(await step.outputs.data()).toEqual(await expected.data());
      expected.dispose();
    }
    step.dispose();
    for (const made of [x, v, table]) made.dispose();
  });

  test('shapes and types that do not fit are refused', () => {
    scope(device, () => {
      const x = upload(device, random([2, 4], 1));
      const c = upload(device, coefficients(rows));
      const words = tensor(device, [1, 2], [2], 'u32');
      expect(() => gaussianMean(x, x, c)).toThrow('gaussianMean: coefficients are [3, 5] f32, expected [2, 5] f32');
      expect(() => gaussianStep(x, x, words, c)).toThrow('gaussianStep: noise is [2] u32, expected [2, 4] f32');
      expect(() => gaussianLogProb(x, c, x, c)).toThrow('gaussianLogProb: x is [3, 5] f32, expected [2, 4] f32');
    });
  });
});
