import { describe, expect, test } from 'vitest';
import { addGated } from '../../../engine/ops/gate.js';
import { transpose } from '../../../engine/ops/shape.js';
import { scope } from '../../../engine/tensor/scope.js';
import type { Tensor } from '../../../engine/tensor/tensor.js';
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
  const gateOf = (i: number): number => gate.data[i % gate.data.length]!;
  return host(
    x.shape,
    x.data.map((value, i) => value + gateOf(i) * y.data[i]!),
  );
};

const inputsOf = ([tokens, samples, features]: readonly [number, number, number]): Host[] => [
  random([tokens, samples, features], 1),
  random([samples, features], 2),
  random([tokens, samples, features], 3),
];

describe('addGated', () => {
  test.each([[[5, 3, 8]], [[7, 2, 6]], [[1, 1, 4]]] as const)(
    'and its gradients agree with double precision: %j',
    async (shape) => {
      const inputs = inputsOf(shape);
      await checkForward(device, addGated, reference, inputs, { terms: 2 });
      await checkGradients(device, addGated, reference, inputs, { terms: shape[0] + 2 });
    },
  );

  test('gives a sample the same bits in any batch', async () => {
    // The batch is the axis that is told apart, so it comes first outside.
    const run = (x: Tensor, gate: Tensor, y: Tensor): Tensor =>
      transpose(addGated(transpose(x, 0, 1), gate, transpose(y, 0, 1)), 0, 1);
    const [x, , y] = inputsOf([2, 5, 8]);
    await checkBatchInvariance(device, run, [x!, random([2, 8], 2), y!], { batched: [0, 1, 2] });
  });

  test('refuses a gate for each token', () => {
    scope(device, () => {
      const x = upload(device, random([2, 5, 8], 1));
      expect(() => addGated(x, x, x)).toThrow('addGated: gate is [2, 5, 8] f32, expected [5, 8] f32');
    });
  });
});
