import { expect, test } from 'vitest';
import { contrastive, crossEntropy, mse } from '../../../engine/ops/loss.js';
import { scope } from '../../../engine/tensor/scope.js';
import { tensor } from '../../../engine/tensor/tensor.js';
import { checkForward, checkGradients, random, testDevice } from '../../check.js';
import * as references from '../../references/loss.js';

const device = await testDevice();

test('mse and its gradients agree with double precision', async () => {
  for (const shape of [[3, 7, 5], [4, 8], [1]]) {
    const inputs = [random(shape, 1), random(shape, 2)];
    const terms = inputs[0]!.data.length;
    await checkForward(device, mse, references.mse, inputs, { terms });
    await checkGradients(device, mse, references.mse, inputs, { terms });
  }
});

test.skipIf(!device.features.f16)(
  'mse of f16 and f32 is f32, with gradients of the inputs types (needs shader-f16)',
  async () => {
    const inputs = [random([5, 7], 1, { dtype: 'f16' }), random([5, 7], 2)];
    const options = { terms: 35, dtypes: ['f16', 'f32'] as const };
    await checkForward(device, mse, references.mse, inputs, options);
    await checkGradients(device, mse, references.mse, inputs, options);
  },
);

test('cross entropy and its gradient agree with double precision', async () => {
  for (const [n, classes] of [
    [9, 13],
    [6, 20],
    [1, 2],
    [3, 1],
  ] as const) {
    const inputs = [
      random([n, classes], 3, { low: -6, high: 6 }),
      random([n], 4, { low: 0, high: classes, dtype: 'u32' }),
    ];
    const options = { terms: n * classes, dtypes: ['f32', 'u32'] as const };
    await checkForward(device, crossEntropy, references.crossEntropy, inputs, options);
    await checkGradients(device, crossEntropy, references.crossEntropy, inputs, options);
  }
});

test('cross entropy of logits far apart is the distance, not infinity', async () => {
  const loss = scope(device, () => crossEntropy(tensor(device, [0, 1e4], [1, 2]), tensor(device, [0], [1], 'u32')));
  expect(await loss.item()).toBe(1e4);
  loss.dispose();
});

test('the contrastive loss and its gradient agree with double precision', async () => {
  for (const n of [7, 8, 1]) {
    const inputs = [random([n, n], 5, { low: -4, high: 4 })];
    await checkForward(device, contrastive, references.contrastive, inputs, { terms: 2 * n });
    await checkGradients(device, contrastive, references.contrastive, inputs, { terms: 2 * n });
  }
});

test('refused arguments are named', () => {
  scope(device, () => {
    const x = tensor(device, [1, 2, 3, 4, 5, 6], [2, 3]);
    const labels = tensor(device, [0, 1, 2], [3], 'u32');
    expect(() => mse(x, tensor(device, [1]))).toThrow('mse: the shapes differ: prediction is [2, 3], target [1]');
    expect(() => crossEntropy(x, labels)).toThrow(
      'crossEntropy: expected labels [2] u32 beside logits [2, 3], found [3] u32',
    );
    expect(() => contrastive(x)).toThrow('contrastive: expected logits [n, n], found [2, 3] f32');
  });
});
