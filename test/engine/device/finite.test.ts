import { afterAll, describe, expect, test } from 'vitest';
import { capture } from '../../../engine/device/capture.js';
import { Device } from '../../../engine/device/device.js';
import { add, exp, mul, square } from '../../../engine/ops/elementwise.js';
import { sum } from '../../../engine/ops/reduce.js';
import { scope } from '../../../engine/tensor/scope.js';
import { backward } from '../../../engine/tensor/tape.js';
import { tensor } from '../../../engine/tensor/tensor.js';

const device = await Device.create({ checkFinite: true, provideDriver: true });
afterAll(() => device.close());

describe('DEBUG=finite', () => {
  test('names the op that first made an infinity, not those it spread to', async () => {
    const y = scope(device, () => add(square(exp(mul(tensor(device, [1, 50, 1000]), 2))), 1));
    await expect(y.data()).rejects.toThrow('a NaN or an infinity was first made by exp [3] -> [3] f32');
    y.dispose();
  });

  test('finite values pass, also after an error', async () => {
    const y = scope(device, () => square(tensor(device, [1, -2])));
    expect([...(await y.data())]).toEqual([1, 4]);
    y.dispose();
  });

  test('it works in gradients and under capture', async () => {
    const x = tensor(device, [3e30]).requireGrad();
    const step = await capture(device, () => backward(sum(mul(mul(x, 1e-30), tensor(device, [1e20]))), [x]));
    step.run();
    await device.sync();
    const bad = await capture(device, () => backward(sum(square(mul(x, 1e5))), [x]));
    bad.run();
    await expect(device.sync()).rejects.toThrow(/first made by square \[1\]/);
    for (const thing of [step, bad, x]) thing.dispose();
  });
});
