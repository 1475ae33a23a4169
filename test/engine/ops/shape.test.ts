import { describe, expect, test } from 'vitest';
import { capture } from '../../../engine/device/capture.js';
import { mul } from '../../../engine/ops/elementwise.js';
import { sum } from '../../../engine/ops/reduce.js';
import * as ops from '../../../engine/ops/shape.js';
import { scope } from '../../../engine/tensor/scope.js';
import { backward } from '../../../engine/tensor/tape.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { shapeCases } from '../../cases/shape.js';
import { checkBatchInvariance, checkForward, checkGradients, random, testDevice, upload } from '../../check.js';
import * as references from '../../references/shape.js';

const device = await testDevice();

for (const { name, shapes, run, reference } of shapeCases) {
  test(`${name}: values and gradients arrive where they belong`, async () => {
    const inputs = shapes.map((shape, i) => random(shape, i + 1));
    await checkForward(device, run, reference, inputs, { terms: 1 });
    await checkGradients(device, run, reference, inputs, { terms: 1 });
  });
}

test.skipIf(!device.features.f16)(
  'f16 is moved as it is, in blocks, in fours and one by one (needs shader-f16)',
  async () => {
    for (const [shape, axes] of [
      [
        [2, 8, 12],
        [0, 2, 1],
      ],
      [
        [3, 5, 8],
        [1, 0, 2],
      ],
      [
        [3, 5, 7],
        [2, 1, 0],
      ],
    ] as const) {
      const inputs = [random(shape, 1, { dtype: 'f16' })];
      const options = { terms: 1, dtypes: ['f16' as const] };
      await checkForward(
        device,
        (x) => ops.permute(x, axes),
        (x) => references.permute(x, axes),
        inputs,
        options,
      );
      await checkGradients(
        device,
        (x) => ops.permute(x, axes),
        (x) => references.permute(x, axes),
        inputs,
        options,
      );
    }
  },
);

test('integers are moved as they are, and have no gradient', async () => {
  const y = scope(device, () => ops.permute(tensor(device, [1, 2, 3, 4294967295], [2, 2], 'u32'), [1, 0]));
  expect([...(await y.data())]).toEqual([1, 3, 2, 4294967295]);
  y.dispose();
});

describe('split', () => {
  test('gives the consecutive parts', async () => {
    const x = random([2, 8, 5], 3);
    const parts = scope(device, () => ops.split(upload(device, x), [3, 1, 4], 1));
    for (const [i, [start, end]] of [
      [0, 3],
      [3, 4],
      [4, 8],
    ].entries()) {
      expect([...(await parts[i]!.data())]).toEqual([...references.slice(x, 1, start!, end!).data]);
      parts[i]!.dispose();
    }
  });

  test('a part that the loss does not use has gradient zero', async () => {
    const [dx] = scope(device, () => {
      const x = tensor(device, [1, 2, 3, 4, 5], [5]).requireGrad();
      const [first, , last] = ops.split(x, [2, 1, 2]);
      return backward(sum(mul(first!, last!)), [x]);
    });
    expect([...(await dx!.data())]).toEqual([4, 5, 0, 1, 2]);
    dx!.dispose();
  });
});

describe('splitViews', () => {
  // Rows of as many bytes as a binding must begin at a multiple of, and half of it.
  const whole = device.offsetAlignment / 4;

  test('gives views where they can be bound, copies elsewhere, with the same values', async () => {
    for (const [width, views] of [
      [whole, true],
      [whole / 2, false],
    ] as const) {
      const values = random([5, width], 1);
      const x = upload(device, values);
      const parts = scope(device, () => ops.splitViews(x, [1, 3, 1]));
      expect(parts.map(({ storage }) => storage === x.storage)).toEqual([true, views, true]);
      for (const [i, row] of [0, 1, 4].entries()) {
        const expected = values.data.subarray(row * width, (row + parts[i]!.shape[0]!) * width);
        expect([...(await parts[i]!.data())]).toEqual([...expected]);
      }
      for (const each of [x, ...parts]) each.dispose();
    }
  });

  test('a view of a view begins where it should, and is written there', async () => {
    const x = tensor(
      device,
      Float32Array.from({ length: 4 * whole }, (_, i) => i),
      [4, whole],
    );
    const [, rest] = ops.splitViews(x, [1, 3]) as [Tensor, Tensor];
    const [, last] = ops.splitViews(rest, [2, 1]) as [Tensor, Tensor];
    expect((await last.data())[0]).toBe(3 * whole);
    last.write(new Float32Array(whole).fill(-1));
    expect((await x.data()).filter((value) => value === -1)).toHaveLength(whole);
    x.dispose();
  });

  test('in a captured step, parts are joined by what makes them and split without a dispatch', async () => {
    const [a, b] = [upload(device, random([2, whole], 1)), upload(device, random([3, whole], 2))];
    const step = await capture(device, () => {
      const joined = ops.concat([mul(a, 2), mul(b, 3)], 0);
      const [first, second] = ops.splitViews(joined, [2, 3]) as [Tensor, Tensor];
      return [mul(first, 5), mul(second, 7)] as const;
    });
    expect(step.dispatches).toHaveLength(4);
    step.run();
    const [first, second] = await Promise.all(step.outputs.map((each) => each.data()));
    const times = (values: Float64Array, ...factors: number[]): number[] =>
      [...values].map((value) => factors.reduce((x, factor) => Math.fround(x * factor), value));
    expect([...first!]).toEqual(times(random([2, whole], 1).data, 2, 5));
    expect([...second!]).toEqual(times(random([3, whole], 2).data, 3, 7));
    for (const thing of [step, a, b]) thing.dispose();
  });
});

test('the same tensor twice in a concat gets both gradients', async () => {
  const [dx] = scope(device, () => {
    const x = tensor(device, [1, 2]).requireGrad();
    return backward(ops.concat([x, x]), [x], { seed: tensor(device, [1, 2, 10, 20]) });
  });
  expect([...(await dx!.data())]).toEqual([11, 22]);
  dx!.dispose();
});

test('reshape makes no copy', () => {
  scope(device, () => {
    const x = tensor(device, [1, 2, 3, 4]);
    expect(ops.reshape(x, [2, 2]).storage).toBe(x.storage);
  });
});

test('a slice may count from the end', async () => {
  const y = scope(device, () => ops.slice(tensor(device, [1, 2, 3, 4]), 0, -3, -1));
  expect([...(await y.data())]).toEqual([2, 3]);
  y.dispose();
});

test('refused arguments are named', () => {
  scope(device, () => {
    const x = tensor(device, [1, 2, 3, 4, 5, 6], [2, 3]);
    expect(() => ops.reshape(x, [4, 2])).toThrow(
      'reshape: [2, 3] f32 has 6 elements; expected a shape of as many, found [4, 2]',
    );
    expect(() => ops.reshape(x, [-1, -1])).toThrow('reshape: [2, 3] f32 has 6 elements');
    expect(() => ops.reshape(x, [4, -1])).toThrow('reshape: [2, 3] f32 has 6 elements');
    expect(() => ops.permute(x, [0])).toThrow('permute: expected each of the 2 axes of [2, 3] f32 once, found [0]');
    expect(() => ops.permute(x, [1, 1])).toThrow('permute: expected each of the 2 axes');
    expect(() => ops.slice(x, 1, 2, 2)).toThrow('slice: expected a range within axis 1 of [2, 3] f32, found 2 to 2');
    expect(() => ops.slice(x, 1, 0, 4)).toThrow('slice: expected a range');
    expect(() => ops.split(x, [1, 1], 1)).toThrow(
      'split: expected positive sizes that add up to axis 1 of [2, 3] f32, found [1, 1]',
    );
    expect(() => ops.concat([x, tensor(device, [1, 2])])).toThrow(
      'concat: expected tensors like [2, 3] f32 but for the size of axis 0, found [2] f32',
    );
    expect(() => ops.pad(x, [[1, 1]])).toThrow(
      'pad: expected [before, after] for each axis of [2, 3] f32, found [[1,1]]',
    );
    expect(() =>
      ops.pad(
        x,
        [
          [0, 0],
          [0, 1],
        ],
        Number.NaN,
      ),
    ).toThrow('pad: expected a finite value, found NaN');
    const six = tensor(device, Array(64).fill(1), [2, 2, 2, 2, 2, 2]);
    expect(() => ops.permute(six, [5, 4, 3, 2, 1, 0])).toThrow(
      'permute: a copy of [2, 2, 2, 2, 2, 2] needs 6 axes, 5 at most',
    );
  });
});

test('a sample is moved the same way whatever its batch', async () => {
  const run = (x: Tensor, y: Tensor): Tensor =>
    ops.pad(ops.permute(ops.concat([ops.slice(x, 1, 1, 5), y], 1), [0, 2, 1]), [
      [0, 0],
      [1, 0],
      [0, 2],
    ]);
  await checkBatchInvariance(device, run, [random([3, 6, 8], 1), random([3, 4, 8], 2)], { batched: [0, 1] });
});
