import { describe, expect, test } from 'vitest';
import { capture } from '../../../engine/device/capture.js';
import * as ops from '../../../engine/ops/elementwise.js';
import { scope } from '../../../engine/tensor/scope.js';
import { backward } from '../../../engine/tensor/tape.js';
import { tensor } from '../../../engine/tensor/tensor.js';
import { binaryCases, broadcastCases, unaryCases } from '../../cases/elementwise.js';
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
import { elementwise } from '../../references/elementwise.js';

const device = await testDevice();

describe('unary functions', () => {
  for (const { name, run, reference, low, high } of unaryCases) {
    test(`${name} and its gradient agree with double precision`, async () => {
      for (const shape of [[6, 8], [7], []]) {
        const inputs = [random(shape, 1, { ...(low !== undefined && { low }), high: high ?? 1 })];
        await checkForward(device, run, (x) => elementwise(reference, x), inputs, { terms: 1 });
        await checkGradients(device, run, (x) => elementwise(reference, x), inputs, { terms: 1 });
      }
    });
  }

  test.skipIf(!device.features.f16)('silu of f16 computes in f32 and rounds once (needs shader-f16)', async () => {
    const { run, reference } = unaryCases.find(({ name }) => name === 'silu')!;
    const inputs = [random([5, 8], 1, { dtype: 'f16', low: -4, high: 4 })];
    await checkForward(device, run, (x) => elementwise(reference, x), inputs, { terms: 1, dtypes: ['f16'] });
    await checkGradients(device, run, (x) => elementwise(reference, x), inputs, { terms: 1, dtypes: ['f16'] });
  });

  test('gelu keeps the small tail of large negative arguments', async () => {
    const x = host([6], [-5.5, -5, -4, -3, 3, 5.5].map(Math.fround));
    const expected = elementwise(unaryCases.find(({ name }) => name === 'gelu')!.reference, x);
    const y = scope(device, () => ops.gelu(upload(device, x)));
    const actual = await y.data();
    y.dispose();
    for (let i = 0; i < 6; i++) expectClose([actual[i]!], [expected.data[i]!], 2e-5, `gelu(${x.data[i]})`);
  });

  test('sine and cosine of many turns keep their precision', async () => {
    const x = host(
      [256],
      Array.from({ length: 256 }, (_, i) => Math.fround(-1000 + 7.8431 * i)),
    );
    for (const [run, reference] of [
      [ops.sin, Math.sin],
      [ops.cos, Math.cos],
    ] as const) {
      await checkForward(device, run, (a) => elementwise(reference, a), [x], { terms: 1 });
    }
  });

  test('arguments far outside the usual range give finite values', async () => {
    for (const run of [ops.sigmoid, ops.tanh, ops.silu, ops.gelu, ops.geluTanh, ops.quickGelu]) {
      const y = scope(device, () => run(tensor(device, [-1e4, -300, -100, 100, 300, 1e4])));
      const values = await y.data();
      y.dispose();
      expect([...values].every(Number.isFinite), `${[...values]}`).toBe(true);
    }
  });
});

describe('binary functions', () => {
  test.skipIf(!device.features.f16)(
    'of f16 that repeats along an innermost axis of fours, on either side (needs shader-f16)',
    async () => {
      for (const shapes of [
        [
          [3, 1],
          [3, 8],
        ],
        [
          [3, 8],
          [3, 1],
        ],
        [[1], [12]],
      ]) {
        const inputs = shapes.map((shape, i) => random(shape!, i + 1, { dtype: 'f16' }));
        const options = { terms: 8, dtypes: ['f16' as const, 'f16' as const] };
        const reference = (a: Host, b: Host) => elementwise((x, y) => x * y, a, b);
        await checkForward(device, ops.mul, reference, inputs, options);
        await checkGradients(device, ops.mul, reference, inputs, options);
      }
    },
  );

  for (const { name, run, reference, low } of binaryCases) {
    test(`${name} and its gradients agree with double precision, broadcast along any axis`, async () => {
      for (const [a, b] of name === 'mul' ? broadcastCases : broadcastCases.slice(6, 10)) {
        const inputs = [random(a, 1, { low: low ?? -1, high: 2 }), random(b, 2, { low: low ?? -1, high: 2 })];
        const terms = inputs[0]!.data.length;
        await checkForward(device, run, (x, y) => elementwise(reference, x, y), inputs, { terms: 1 });
        await checkGradients(device, run, (x, y) => elementwise(reference, x, y), inputs, { terms });
      }
    });
  }

  test('large tensors, of which a lane computes several vectors, are whole to the last element', async () => {
    for (const [a, b] of [
      [[300_001], [300_001]],
      [[3, 100_004], [100_004]],
    ] as const) {
      const inputs = [random(a, 1), random(b, 2)];
      await checkForward(device, ops.add, (x, y) => elementwise((p, q) => p + q, x, y), inputs, { terms: 1 });
    }
  });

  test('maximum shares the gradient of a tie', async () => {
    const gradients = scope(device, () => {
      const a = tensor(device, [1, 2, 3]).requireGrad();
      const b = tensor(device, [3, 2, 1]).requireGrad();
      return backward(ops.maximum(a, b), [a, b], { seed: tensor(device, [1, 1, 1]) });
    });
    expect([...(await gradients[0]!.data())]).toEqual([0, 0.5, 1]);
    expect([...(await gradients[1]!.data())]).toEqual([1, 0.5, 0]);
    for (const gradient of gradients) gradient.dispose();
  });

  test('integers add and multiply as integers', async () => {
    const y = scope(device, () =>
      ops.mul(ops.add(tensor(device, [1, 2, 3, 4], [4], 'i32'), tensor(device, [-5], [1], 'i32')), 3),
    );
    expect([...(await y.data())]).toEqual([-12, -9, -6, -3]);
    y.dispose();
  });
});

describe('where, comparisons, cast and expand', () => {
  test('where takes each element from its side and sends the gradient back there', async () => {
    const inputs = [random([3, 1, 4], 3, { low: 0, high: 2, dtype: 'u32' }), random([2, 4], 4), random([3, 2, 1], 5)];
    const reference = (c: number, a: number, b: number): number => (c !== 0 ? a : b);
    const options = { terms: 12, dtypes: ['u32', 'f32', 'f32'] as const };
    await checkForward(device, ops.where, (...x) => elementwise(reference, ...x), inputs, options);
    await checkGradients(device, ops.where, (...x) => elementwise(reference, ...x), inputs, options);
  });

  test('comparisons give 0 and 1', async () => {
    const results = scope(device, () => {
      const a = tensor(device, [1, 2, 3]);
      const b = tensor(device, [2]);
      return [ops.less(a, b), ops.equal(a, b), ops.greater(a, b), ops.greater(a, 1.5)];
    });
    const values = [];
    for (const result of results) values.push([...(await result.data())]);
    expect(values).toEqual([
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
      [0, 1, 1],
    ]);
    for (const result of results) result.dispose();
  });

  test.skipIf(!device.features.f16)(
    'cast to f16 rounds to nearest even and its gradient passes (needs shader-f16)',
    async () => {
      const x = random([5, 3], 6);
      const y = scope(device, () => ops.cast(ops.cast(upload(device, x), 'f16'), 'f32'));
      expectClose(await y.data(), x.data, tolerance('f16', 1), 'cast');
      y.dispose();
      const [gradient] = scope(device, () => {
        const leaf = upload(device, x).requireGrad();
        return backward(ops.cast(leaf, 'f16'), [leaf], { seed: tensor(device, Array(15).fill(0.375), [5, 3], 'f16') });
      });
      expect(gradient!.dtype).toBe('f32');
      expect([...(await gradient!.data())]).toEqual(Array(15).fill(0.375));
      gradient!.dispose();
    },
  );

  test('expand repeats, and its gradient sums', async () => {
    const inputs = [random([3, 1, 4], 7)];
    const zero = host([2, 3, 5, 4], new Float64Array(120));
    const reference = (x: Parameters<typeof elementwise>[1]): ReturnType<typeof elementwise> =>
      elementwise((a, b) => a + b, x, zero);
    await checkForward(device, (x) => ops.expand(x, [2, 3, 5, 4]), reference, inputs, { terms: 1 });
    await checkGradients(device, (x) => ops.expand(x, [2, 3, 5, 4]), reference, inputs, { terms: 10 });
  });
});

test('assign hands a captured step its own last value', async () => {
  const state = tensor(device, [1, 2, 3]);
  const step = await capture(device, () => ops.assign(state, ops.mul(state, 2)));
  for (let i = 0; i < 3; i++) step.run();
  expect([...(await state.data())]).toEqual([8, 16, 24]);
  expect(() => ops.assign(state, state)).toThrow('elementwise.wgsl writes y and also binds it as a');
  expect(() => scope(device, () => ops.assign(state, tensor(device, [1])))).toThrow(
    'assign: the target is [3] f32, the source [1] f32',
  );
  for (const thing of [step, state]) thing.dispose();
});

test('a sample does not depend on its batch', async () => {
  const inputs = [random([3, 5, 4], 8), random([5, 1], 9)];
  await checkBatchInvariance(device, (a, b) => ops.silu(ops.mul(a, b)), inputs, { batched: [0] });
});

test('accumulate adds in place', async () => {
  for (const size of [4096, 7]) {
    const [a, b] = [random([size], 1), random([size], 2)];
    const total = upload(device, a);
    scope(device, () => {
      for (let i = 0; i < 2; i++) ops.accumulate(total, upload(device, b));
    });
    const twice = a.data.map((value, i) => Math.fround(Math.fround(value + b.data[i]!) + b.data[i]!));
    expect(Array.from(await total.data())).toEqual(Array.from(twice));
    expect(() => scope(device, () => ops.accumulate(total, tensor(device, [1])))).toThrow('accumulate: the total is');
    total.dispose();
  }
});

describe('refused inputs', () => {
  test('shapes that do not broadcast', () => {
    expect(() => scope(device, () => ops.add(tensor(device, [1, 2, 3]), tensor(device, [1, 2])))).toThrow(
      'add: shapes [3] and [2] do not broadcast',
    );
  });

  test('dtypes that differ', () => {
    expect(() => scope(device, () => ops.mul(tensor(device, [1]), tensor(device, [1], [1], 'u32')))).toThrow(
      'mul: the dtypes differ: a is [1] f32, b is [1] u32',
    );
  });

  test('a float function of integers', () => {
    expect(() => scope(device, () => ops.exp(tensor(device, [1], [1], 'i32')))).toThrow(
      'exp: expected f32 or f16, found [1] i32',
    );
  });

  test('a number that is not finite', () => {
    expect(() => scope(device, () => ops.mul(tensor(device, [1]), Number.NaN))).toThrow(
      'mul: expected a finite number, found NaN',
    );
  });
});
