import { describe, expect, test } from 'vitest';
import * as ops from '../../../engine/ops/reduce.js';
import { sumTo } from '../../../engine/ops/sum_to.js';
import { dispatch } from '../../../engine/tensor/op.js';
import { scope } from '../../../engine/tensor/scope.js';
import { backward } from '../../../engine/tensor/tape.js';
import { empty, type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { planPass } from '../../../kernels/reduce.js';
import { cumsumCases, type ReduceCase, reduceCases, reduceFunctions } from '../../cases/reduce.js';
import {
  checkBatchInvariance,
  checkForward,
  checkGradients,
  expectClose,
  host,
  random,
  testDevice,
  tolerance,
  upload,
} from '../../check.js';
import * as references from '../../references/reduce.js';

const device = await testDevice();

/** Number of elements that meet in one result. */
const termsOf = ({ shape, axes }: ReduceCase): number =>
  shape.reduce((all, n, axis) => (axes && !axes.includes(axis) ? all : all * n), 1);

/** The layouts that a function is tested on: sum on all, the others on enough to see that they use the same passes. */
const layoutsOf = (name: string, least = 1): readonly ReduceCase[] =>
  reduceCases.filter((layout, i) => termsOf(layout) >= least && (name === 'sum' || i % 2 === 0));

for (const { name, run, reference, least } of reduceFunctions) {
  describe(name, () => {
    for (const layout of layoutsOf(name, least)) {
      test(`of ${layout.name} and its gradient agree with double precision`, async () => {
        const { shape, axes, keepDims = false } = layout;
        const inputs = [random(shape, 1)];
        const options = { terms: termsOf(layout) };
        const apply = (x: Tensor): Tensor => run(x, axes, { keepDims });
        await checkForward(device, apply, (x) => references.reduce(reference, x, axes, keepDims), inputs, options);
        await checkGradients(device, apply, (x) => references.reduce(reference, x, axes, keepDims), inputs, options);
      });
    }

    test('of a sample has the same bits in any batch', async () => {
      await checkBatchInvariance(device, (x) => run(x, [1, 2]), [random([3, 5, 26], 2)], { batched: [0] });
      await checkBatchInvariance(device, (x) => run(x, [1]), [random([3, 70, 3], 2)], { batched: [0] });
    });

    test.skipIf(!device.features.f16)('of f16 computes in f32 and rounds once (needs shader-f16)', async () => {
      const inputs = [random([3, 70, 4], 3, { dtype: 'f16' })];
      const options = { terms: 210, dtypes: ['f16' as const] };
      const apply = (x: Tensor): Tensor => run(x, [0, 1]);
      await checkForward(device, apply, (x) => references.reduce(reference, x, [0, 1]), inputs, options);
      await checkGradients(device, apply, (x) => references.reduce(reference, x, [0, 1]), inputs, options);
      // Its gradient repeats along the innermost axis.
      const last = (x: Tensor): Tensor => run(x, [2]);
      await checkForward(device, last, (x) => references.reduce(reference, x, [2]), inputs, options);
      await checkGradients(device, last, (x) => references.reduce(reference, x, [2]), inputs, options);
    });
  });
}

describe('sums', () => {
  test('the error of a sum of four million numbers stays near that of one rounding', async () => {
    const x = random([1 << 22], 4, { low: 0 });
    const y = scope(device, () => ops.sum(upload(device, x)));
    expectClose([await y.item()], [references.sum([...x.data])], 4 * 2 ** -24, 'sum');
    y.dispose();
  });

  test('integers are added exactly, modulo 2^32', async () => {
    const y = scope(device, () => ops.sum(tensor(device, [4294967295, 2, 3, 16777217, 5, 6], [2, 3], 'u32'), 1));
    expect([...(await y.data())]).toEqual([4, 16777228]);
    y.dispose();
    const z = scope(device, () => ops.sum(tensor(device, [-5, 2, 16777217, -1], [4], 'i32')));
    expect(await z.item()).toBe(16777213);
    z.dispose();
  });

  test('a workgroup a row, the choice on a GPU, adds up the same', async () => {
    const x = random([3, 2048], 5);
    const features = { ...device.features, software: false };
    const plan = planPass('sum', { outer: 3, length: 2048, inner: 1 }, 2048, 'f32', 'f32', features);
    expect(plan.variant.constants).toEqual({ LANES: 64 });
    const y = scope(device, () => {
      const result = empty(device, [3]);
      dispatch(plan, { x: upload(device, x), y: result });
      return result;
    });
    expectClose(await y.data(), references.reduce(references.sum, x, [1]).data, tolerance('f32', 2048), 'sums');
    y.dispose();
  });

  test('sumTo undoes a broadcast, and returns its argument where there was none', async () => {
    const x = random([2, 3, 4], 6);
    const [tensorX, y] = scope(device, () => {
      const input = upload(device, x);
      expect(sumTo(input, [2, 3, 4])).toBe(input);
      return [input, sumTo(input, [3, 1])];
    });
    expect(y!.shape).toEqual([3, 1]);
    expectClose(await y!.data(), references.reduce(references.sum, x, [0, 2]).data, tolerance('f32', 8), 'sums');
    tensorX!.dispose();
    y!.dispose();
  });

  test('axes may be negative or a single number, and keepDims keeps them with size 1', async () => {
    const y = scope(device, () => ops.sum(tensor(device, [1, 2, 3, 4, 5, 6], [2, 3]), -1, { keepDims: true }));
    expect(y.shape).toEqual([2, 1]);
    expect([...(await y.data())]).toEqual([6, 15]);
    y.dispose();
  });
});

test('equal largest values share the gradient', async () => {
  const [dx] = scope(device, () => {
    const x = tensor(device, [1, 3, 3, 2, -1, -1], [2, 3]).requireGrad();
    return backward(ops.max(x, 1), [x], { seed: tensor(device, [1, 4]) });
  });
  expect([...(await dx!.data())]).toEqual([0, 0.5, 0.5, 4, 0, 0]);
  dx!.dispose();
});

test('the variance of numbers far from zero keeps its digits', async () => {
  const x = host([1, 4], [1000, 1001, 1002, 1003]);
  await checkForward(
    device,
    (t) => ops.variance(t, 1),
    (h) => references.reduce(references.variance(0), h, [1]),
    [x],
    { terms: 4 },
  );
});

test('logSumExp of large values is finite', async () => {
  const x = host([2, 3], [1e4, 1e4, 1e4, -3e38, -3e38, -3e38].map(Math.fround));
  await checkForward(
    device,
    (t) => ops.logSumExp(t, 1),
    (h) => references.reduce(references.logSumExp, h, [1]),
    [x],
    { terms: 3 },
  );
});

describe('cumsum', () => {
  for (const { name, shape, axis } of cumsumCases) {
    test(`along ${name} and its gradient agree with double precision`, async () => {
      const run = (x: Tensor): Tensor => ops.cumsum(x, axis);
      const reference = (x: ReturnType<typeof random>) => references.alongAxis(references.cumsum, x, axis);
      const inputs = [random(shape, 7)];
      await checkForward(device, run, reference, inputs, { terms: shape[axis]! });
      await checkGradients(device, run, reference, inputs, { terms: shape[axis]! });
    });
  }

  test('of a sample has the same bits in any batch', async () => {
    await checkBatchInvariance(device, (x) => ops.cumsum(x, 1), [random([3, 131, 3], 8)], { batched: [0] });
  });
});

test('refused arguments are named', () => {
  scope(device, () => {
    const x = tensor(device, [1, 2, 3, 4], [2, 2]);
    const ids = tensor(device, [1, 2], [2], 'u32');
    expect(() => ops.sum(x, 2)).toThrow('sum: axis 2 is outside the 2 axes of the tensor');
    expect(() => ops.mean(x, [0, -2])).toThrow('mean: axes [0,-2] name an axis twice');
    expect(() => ops.mean(ids)).toThrow('mean: expected f32 or f16, found [2] u32');
    expect(() => ops.variance(x, 0, { correction: 2 })).toThrow(
      'variance: expected more than 2 elements for each result, found 2',
    );
    expect(() => ops.cumsum(x, -3)).toThrow('cumsum: axis -3');
  });
});
