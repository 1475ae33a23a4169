import { describe, expect, test } from 'vitest';
import { addGated } from '../../../engine/ops/gate.js';
import { scope } from '../../../engine/scope.js';
import {
  checkBatchInvariance,
  checkForward,
  checkGradients,
  type Host,
  host,
  random,
  testDevice,
  upload,
} from '../../check.js';

const device = await testDevice();

const reference = (x: Host, gate: Host, y: Host): Host => {
  const [, tokens, features] = x.shape as [number, number, number];
  const gateOf = (i: number): number => gate.data[Math.floor(i / (tokens * features)) * features + (i % features)]!;
  return host(
    x.shape,
    x.data.map((value, i) => value + gateOf(i) * y.data[i]!),
  );
};

const inputsOf = ([samples, tokens, features]: readonly [number, number, number]): Host[] => [
  random([samples, tokens, features], 1),
  random([samples, features], 2),
  random([samples, tokens, features], 3),
];

describe('addGated', () => {
  test.each([[[3, 5, 8]], [[2, 7, 6]], [[1, 1, 4]]] as const)(
    'and its gradients agree with double precision: %j',
    async (shape) => {
      const inputs = inputsOf(shape);
      await checkForward(device, addGated, reference, inputs, { terms: 2 });
      await checkGradients(device, addGated, reference, inputs, { terms: shape[1] + 2 });
    },
  );

  test('gives a sample the same bits in any batch', async () => {
    await checkBatchInvariance(device, addGated, inputsOf([2, 5, 8]), { batched: [0, 1, 2] });
  });

  test('refuses a gate for each token', () => {
    scope(device, () => {
      const x = upload(device, random([2, 5, 8], 1));
      expect(() => addGated(x, x, x)).toThrow('addGated: gate is [2, 5, 8] f32, expected [2, 8] f32');
    });
  });
});
