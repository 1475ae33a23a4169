import { describe, expect, test } from 'vitest';
import { capture } from '../../../engine/device/capture.js';
import { Device } from '../../../engine/device/device.js';
import { formatBytes, OutOfMemoryError } from '../../../engine/errors.js';
import { add, mul } from '../../../engine/ops/elementwise.js';
import { dispatch } from '../../../engine/tensor/op.js';
import { scope } from '../../../engine/tensor/scope.js';
import { empty, type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { planElementwise } from '../../../kernels/elementwise.js';
import { type Plan, printPrelude } from '../../../kernels/kernel.js';
import { testDevice } from '../../check.js';

const device = await testDevice();

const f32 = { shape: [4], dtype: 'f32' as const };
const planOf = (expression: string): Plan => planElementwise([f32], { expression, output: f32 });
const run = (plan: Plan, a: Tensor, y: Tensor): void => dispatch(plan, { a, b: null, c: null, y });

describe('the device', () => {
  test('says what it is and can do, once and for all', () => {
    expect(device.info.description || device.info.device).toBeTruthy();
    expect(Object.isFrozen(device.features)).toBe(true);
    expect(device.limits.maxStorageBufferBindingSize).toBeGreaterThanOrEqual(2 ** 27);
  });

  test('an adapter that does not exist is refused with its name', async () => {
    await expect(Device.create({ name: 'no such adapter' })).rejects.toThrow('no such adapter');
  });

  test('a closed device refuses everything, and closing again does nothing', async () => {
    const other = await Device.create();
    const x = tensor(other, [1, 2, 3]);
    other.close();
    other.close();
    expect(() => add(x, 1)).toThrow('the device is closed');
    await expect(x.data()).rejects.toThrow('the device is closed');
    expect(() => tensor(other, [1])).toThrow('the device is closed');
  });

  test('a lost device is an error at the next call and the next await', async () => {
    const other = await Device.create();
    const x = tensor(other, [1, 2, 3]);
    other.gpu.destroy(); // as a driver would
    await other.gpu.lost;
    await expect(x.data()).rejects.toThrow('device lost');
    expect(() => add(x, 1)).toThrow('device lost');
    other.close();
  });

  test('two devices do not mix', async () => {
    const other = await Device.create();
    expect(() => scope(device, () => add(tensor(device, [1]), tensor(other, [1])))).toThrow(
      'add: the inputs are on different devices',
    );
    other.close();
  });
});

test('what was dispatched before a write sees the old values, what comes after it the new ones', async () => {
  const x = tensor(device, [1, 2, 3]);
  const before = add(x, 1);
  x.write([10, 20, 30]);
  const after = add(x, 1);
  expect([...(await before.data())]).toEqual([2, 3, 4]);
  expect([...(await after.data())]).toEqual([11, 21, 31]);
  for (const thing of [x, before, after]) thing.dispose();
});

describe('errors of kernels', () => {
  const failing = async (plan: Plan): Promise<string> => {
    const tensors = [tensor(device, [1, 2, 3, 4]), empty(device, [4])] as const;
    run(plan, ...tensors);
    const message = await tensors[1].data().then(
      () => 'no error',
      (error: Error) => error.message,
    );
    for (const x of tensors) x.dispose();
    await device.sync().catch(() => {});
    return message;
  };

  test('a wrong expression names the prelude and the column', async () => {
    expect(await failing(planOf('a + 1i'))).toMatch(/\(prelude of elementwise\):\d+:\d+ error: no matching overload/);
  });

  test('an error inside a file names the file and its own line', async () => {
    const plan = planOf('a');
    const wrong = { ...plan, variant: { ...plan.variant, types: { ...plan.variant.types, A: 'vec2<f32>' } } };
    expect(await failing(wrong)).toMatch(
      /elementwise\.wgsl:\d+:\d+ error: no matching constructor for 'vec4<f32>\(vec2<f32>\)'/,
    );
  });

  test('under capture the same error rejects the capture', async () => {
    const x = tensor(device, [1, 2, 3, 4]);
    const captured = capture(device, () => {
      const y = empty(device, [4]);
      run(planOf('a + 2i'), x, y);
      return y;
    });
    await expect(captured).rejects.toThrow(/\(prelude of elementwise\):\d+:\d+ error/);
    x.dispose();
    await device.sync();
  });

  test('a wrong binding name is refused with the kernel', () => {
    const x = tensor(device, [1, 2, 3, 4]);
    expect(() => dispatch(planOf('a'), { a: x, b: null, c: null })).toThrow(
      'elementwise.wgsl: no buffer for binding y',
    );
    const y = tensor(device, [0, 0, 0, 0]);
    const extra = { a: x, b: null, c: null, y, z: x };
    expect(() => dispatch(planOf('a'), extra)).toThrow('elementwise.wgsl has no binding z');
    for (const thing of [x, y]) thing.dispose();
  });

  test('one buffer for reading and writing is refused with both bindings', async () => {
    const x = tensor(device, [1, 2, 3, 4]);
    expect(() => run(planOf('a'), x, x)).toThrow('elementwise.wgsl writes y and also binds it as a (elementwise)');
    expect([...(await x.data())]).toEqual([1, 2, 3, 4]);
    x.dispose();
  });

  test('variants print as declarations', () => {
    expect(printPrelude(planOf('a').variant)).toContain('fn apply(a: FA, b: FB, c: FC) -> FY { return a; }');
  });
});

describe('refused tensors', () => {
  test('negative and fractional sizes', () => {
    expect(() => tensor(device, [1], [-1])).toThrow('every size must be a positive integer, found -1');
    expect(() => empty(device, [2.5])).toThrow('found 2.5');
  });

  test('values that do not fill the shape', () => {
    expect(() => tensor(device, [1, 2, 3], [2, 2])).toThrow('tensor: shape [2, 2] holds 4 elements, found 3 values');
    const x = tensor(device, [1, 2]);
    expect(() => x.write([1])).toThrow('write(): [2] f32 holds 2 elements, found 1');
    x.dispose();
  });

  test('use after dispose', async () => {
    const x = tensor(device, [1, 2]);
    x.dispose();
    x.dispose();
    expect(() => add(x, 1)).toThrow('add: an input was disposed: [2] f32 (tensor [2] f32)');
    await expect(x.data()).rejects.toThrow('data(): [2] f32 was disposed');
    expect(() => x.write([1, 2])).toThrow('write(): [2] f32 was disposed');
  });

  test('a tensor over the budget says what fills it', async () => {
    const small = await Device.create({ memoryBudget: 1e6 });
    const held = tensor(small, new Float32Array(200_000));
    expect(() => empty(small, [100_000])).toThrow(
      /empty -> \[100000\] f32 needs 400 kB, 800 kB of the budget of 1\.00 MB are in use, most by tensor \[200000\] f32 \(800 kB\)/,
    );
    expect(() => empty(small, [100_000])).toThrow(OutOfMemoryError);
    expect(() => scope(small, () => add(held, 1))).toThrow(OutOfMemoryError); // also from within an op
    held.dispose();
    empty(small, [100_000]).dispose(); // the pool makes room
    expect(small.memory().liveBytes).toBe(0);
    small.close();
  });

  const limit = device.limits.maxStorageBufferBindingSize;
  // Allocating more than that only to be refused is not worth it.
  test.skipIf(limit > 2 ** 30)(
    'a tensor over what one binding holds is refused by name and size (needs maxStorageBufferBindingSize of at most 1 GiB)',
    () => {
      const x = empty(device, [limit / 4 + 64]);
      expect(() => scope(device, () => mul(x, 2))).toThrow(
        new RegExp(
          `mul: .*needs ${formatBytes(limit + 256)} in one binding; this device binds at most ${formatBytes(limit)}`,
        ),
      );
      x.dispose();
      device.pool.trim();
    },
  );

  test('a wrong memory budget', async () => {
    await expect(Device.create({ memoryBudget: -1 })).rejects.toThrow(
      'memory budget: expected a positive number of bytes, found -1',
    );
  });

  test('item() of several elements', async () => {
    const x = tensor(device, [1, 2]);
    await expect(x.item()).rejects.toThrow('item(): expected one element, found [2]');
    x.dispose();
  });
});
