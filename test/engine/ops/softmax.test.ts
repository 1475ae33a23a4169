import { describe, expect, test } from 'vitest';
import { logSoftmax, softmax } from '../../../engine/ops/softmax.js';
import { scope } from '../../../engine/tensor/scope.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { softmaxCases } from '../../cases/softmax.js';
import { checkBatchInvariance, checkForward, checkGradients, type Host, random, testDevice } from '../../check.js';
import * as references from '../../references/reduce.js';

const device = await testDevice();

const functions = [
  { name: 'softmax', op: softmax, line: references.softmax },
  { name: 'logSoftmax', op: logSoftmax, line: references.logSoftmax },
];

for (const { name, op, line } of functions) {
  describe(name, () => {
    for (const { name: layout, shape, axis } of softmaxCases) {
      test(`along ${layout} and its gradient agree with double precision`, async () => {
        const run = (x: Tensor): Tensor => op(x, axis);
        const reference = (x: Host): Host => references.alongAxis(line, x, axis);
        const inputs = [random(shape, 1, { low: -4, high: 4 })];
        await checkForward(device, run, reference, inputs, { terms: shape[axis]! });
        await checkGradients(device, run, reference, inputs, { terms: shape[axis]! });
      });
    }

    test('of values of some hundreds is as exact as of small ones', async () => {
      const inputs = [random([3, 20], 2, { low: 700, high: 720 })];
      // The inputs themselves are rounded, to 720 / 2^24: the host's values are those.
      await checkForward(
        device,
        (x) => op(x),
        (x) => references.alongAxis(line, x, 1),
        inputs,
        { terms: 20 },
      );
    });

    test('of a sample has the same bits in any batch', async () => {
      await checkBatchInvariance(device, (x) => op(x), [random([3, 5, 37], 3)], { batched: [0] });
      await checkBatchInvariance(device, (x) => op(x, 1), [random([3, 9, 4], 3)], { batched: [0] });
    });

    test.skipIf(!device.features.f16)('of f16 computes in f32 and rounds once (needs shader-f16)', async () => {
      const inputs = [random([5, 36], 4, { dtype: 'f16' })];
      const options = { terms: 36, dtypes: ['f16' as const] };
      await checkForward(
        device,
        (x) => op(x),
        (x) => references.alongAxis(line, x, 1),
        inputs,
        options,
      );
      await checkGradients(
        device,
        (x) => op(x),
        (x) => references.alongAxis(line, x, 1),
        inputs,
        options,
      );
    });
  });
}

test('masked places get exactly 0, and a row of nothing but masks becomes uniform', async () => {
  const y = scope(device, () => softmax(tensor(device, [-3e38, -3e38, -3e38, -3e38, 1, -3e38, 1, -1e9], [2, 4])));
  expect([...(await y.data())]).toEqual([0.25, 0.25, 0.25, 0.25, 0.5, 0, 0.5, 0]);
  y.dispose();
});

test('refused arguments are named', () => {
  scope(device, () => {
    expect(() => softmax(tensor(device, [1, 2], [2], 'u32'))).toThrow('softmax: expected f32 or f16, found [2] u32');
    expect(() => logSoftmax(tensor(device, [1, 2]), 1)).toThrow(
      'logSoftmax: axis 1 is outside the 1 axes of the tensor',
    );
  });
});
