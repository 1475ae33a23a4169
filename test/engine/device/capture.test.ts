import { describe, expect, test } from 'vitest';
import { capture } from '../../../engine/device/capture.js';
import { add, exp, mul, silu, square, tanh } from '../../../engine/ops/elementwise.js';
import { sum } from '../../../engine/ops/reduce.js';
import { recompute } from '../../../engine/tensor/recompute.js';
import { scope } from '../../../engine/tensor/scope.js';
import { backward } from '../../../engine/tensor/tape.js';
import { empty, type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { random, testDevice, upload } from '../../check.js';

const device = await testDevice();

const bits = async (x: Tensor): Promise<number[]> => [...new Uint32Array(Float32Array.from(await x.data()).buffer)];

/** A value and a gradient through a few ops with a shared intermediate. */
function chain(x: Tensor, weight: Tensor): { loss: Tensor; gradient: Tensor } {
  const hidden = silu(mul(x, weight));
  const loss = sum(mul(square(hidden), tanh(hidden)));
  const [gradient] = backward(loss, [weight]);
  return { loss, gradient: gradient! };
}

describe('capture and replay', () => {
  test('replay equals eager bit for bit, also with new inputs', async () => {
    const x = upload(device, random([13, 20], 1));
    const weight = upload(device, random([20], 2)).requireGrad();
    const step = await capture(device, () => chain(x, weight));
    for (const seed of [1, 5, 6]) {
      x.write(random([13, 20], seed).data);
      step.run();
      const eager = scope(device, () => chain(x, weight));
      expect(await bits(step.outputs.loss)).toEqual(await bits(eager.loss));
      expect(await bits(step.outputs.gradient)).toEqual(await bits(eager.gradient));
      eager.loss.dispose();
      eager.gradient.dispose();
    }
    for (const thing of [step, x, weight]) thing.dispose();
  });

  test('intermediates share slots, and nothing is allocated after the capture', async () => {
    const x = upload(device, random([1024], 1));
    const step = await capture(device, () => {
      let y = x;
      for (let i = 0; i < 20; i++) y = add(y, 1);
      return y;
    });
    expect(step.dispatches).toHaveLength(20);
    expect(step.bytes).toBe(2 * 4096); // two that alternate; the output is the last of them
    const before = device.memory();
    for (let i = 0; i < 10; i++) step.run();
    let expected = random([1024], 1).data[0]!;
    for (let i = 0; i < 20; i++) expected = Math.fround(expected + 1);
    expect((await step.outputs.data())[0]).toBe(expected);
    expect(device.memory()).toEqual(before);
    step.dispose();
    expect(device.memory().plannedBytes).toBe(0);
    x.dispose();
  });

  test('an output that is read again early keeps its slot to the end', async () => {
    const x = tensor(device, [1, 2, 3]);
    const step = await capture(device, () => {
      const kept = mul(x, 2);
      let y = add(kept, 1);
      for (let i = 0; i < 6; i++) y = mul(add(y, 1), 0.5);
      return { kept, last: y };
    });
    step.run();
    expect([...(await step.outputs.kept.data())]).toEqual([2, 4, 6]);
    for (const thing of [step, x]) thing.dispose();
  });

  test('constants made from host data inside belong to the step', async () => {
    const x = tensor(device, [1, 2, 3]);
    const step = await capture(device, () => mul(x, tensor(device, [10, 20, 30])));
    step.run();
    expect([...(await step.outputs.data())]).toEqual([10, 40, 90]);
    for (const thing of [step, x]) thing.dispose();
  });

  test('recompute gives the same bits as the plain block and keeps less memory', async () => {
    const x = upload(device, random([4096], 3));
    const weight = upload(device, random([4096], 4)).requireGrad();
    const block = (h: Tensor): Tensor => {
      let y = mul(h, weight);
      for (let i = 0; i < 6; i++) y = tanh(add(y, 0.1));
      return y;
    };
    const run = (wrap: boolean): { loss: Tensor; gradient: Tensor } => {
      let h = x;
      for (let i = 0; i < 4; i++) h = wrap ? recompute(block, [h], [weight]) : block(h);
      const loss = sum(h);
      return { loss, gradient: backward(loss, [weight])[0]! };
    };
    const plain = await capture(device, () => run(false));
    const recomputed = await capture(device, () => run(true));
    plain.run();
    recomputed.run();
    expect(await bits(recomputed.outputs.gradient)).toEqual(await bits(plain.outputs.gradient));
    expect(await bits(recomputed.outputs.loss)).toEqual(await bits(plain.outputs.loss));
    expect(recomputed.bytes).toBeLessThan(0.6 * plain.bytes);
    const eager = scope(device, () => run(true));
    expect(await bits(eager.gradient)).toEqual(await bits(plain.outputs.gradient));
    for (const thing of [eager.gradient, eager.loss, plain, recomputed, x, weight]) thing.dispose();
  });

  test('explain prints each dispatch with its slots', async () => {
    const x = tensor(device, [1, 2, 3, 4]);
    const step = await capture(device, () => exp(mul(x, 0.5)));
    const text = await step.explain();
    expect(text).toContain('elementwise');
    expect(text).toContain('a:outside');
    expect(text).toContain('(mul [4])');
    expect(text).toMatch(/2 dispatches, 2 slots, 512 B/);
    for (const thing of [step, x]) thing.dispose();
  });

  test.skipIf(!device.features.timestamps)('explain measures each dispatch (needs timestamp-query)', async () => {
    const x = upload(device, random([100_000], 1));
    const step = await capture(device, () => exp(mul(x, 0.5)));
    step.run();
    const times = await step.profile();
    expect(times).toHaveLength(2);
    expect(
      times.every((time) => time > 0 && time < 1e10),
      `${times}`,
    ).toBe(true);
    expect(await step.explain({ timed: true })).toMatch(/ us .*\n[\s\S]*100\.0 % {2}elementwise/);
    for (const thing of [step, x]) thing.dispose();
  });
});

describe('refused inside a captured step', () => {
  const refused = async (body: (x: Tensor) => unknown, message: string): Promise<void> => {
    const x = tensor(device, [1, 2, 3]);
    await expect(capture(device, () => body(x))).rejects.toThrow(message);
    const y = scope(device, () => add(x, 1)); // the device works on
    expect([...(await y.data())]).toEqual([2, 3, 4]);
    for (const thing of [x, y]) thing.dispose();
  };

  test('writing', () => refused((x) => x.write([1, 2, 3]), 'capture: write() inside a captured step'));
  test('a promise', () => refused(async () => {}, 'capture: the captured function returned a promise'));
  test('disposing', () => refused((x) => x.dispose(), 'capture: dispose() inside a captured step'));
  test('a shape error, with the op', () =>
    refused((x) => mul(x, tensor(device, [1, 2])), 'capture: mul: shapes [3] and [2]'));
  test('a returned tensor that nothing wrote', () =>
    refused(() => empty(device, [3]), 'capture: empty -> [3] f32 is returned but never written'));

  test('reading back', async () => {
    const x = tensor(device, [1, 2, 3]);
    let read: Promise<unknown> | undefined;
    const step = await capture(device, () => {
      read = x.data();
      read.catch(() => {});
      return add(x, 1);
    });
    await expect(read).rejects.toThrow(
      'data() reads back inside a captured step; return the tensor and read it after run()',
    );
    for (const thing of [step, x]) thing.dispose();
  });

  test('an input disposed after the capture is named at run()', async () => {
    const x = tensor(device, [1, 2, 3]);
    const step = await capture(device, () => add(x, 1));
    x.dispose();
    expect(() => step.run()).toThrow('step: tensor [3] f32, which it uses, was disposed after the capture');
    step.dispose();
    expect(() => step.run()).toThrow('step: it was disposed');
  });

  test('outputs belong to the step and end with it', async () => {
    const x = tensor(device, [1]);
    const step = await capture(device, () => add(x, 1));
    expect(() => step.outputs.dispose()).toThrow('belongs to a captured step');
    step.dispose();
    await expect(step.outputs.data()).rejects.toThrow('was disposed');
    x.dispose();
  });
});
