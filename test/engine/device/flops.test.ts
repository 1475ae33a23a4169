import { expect, test } from 'vitest';
import { forwardFlops } from '../../../engine/device/flops.js';
import { attention, backward, capture, conv2d, linear, sum, type Tensor } from '../../../engine/index.js';
import { random, testDevice, upload } from '../../check.js';

const device = await testDevice();

/** What the counter says of a captured body. */
async function count(shapes: readonly (readonly number[])[], body: (...inputs: Tensor[]) => Tensor): Promise<number> {
  const inputs = shapes.map((shape, i) => upload(device, random(shape, i)).requireGrad());
  const step = await capture(device, () => [body(...inputs)]);
  const flops = forwardFlops(step.dispatches);
  for (const thing of [step, ...inputs]) thing.dispose();
  return flops;
}

test('a linear layer: 2 x rows x in x out', async () => {
  expect(
    await count(
      [
        [3, 7, 20],
        [12, 20],
      ],
      (x, weight) => linear(x, weight),
    ),
  ).toBe(2 * 21 * 20 * 12);
});

test('a convolution: 2 x samples x pixels of the result x channels x taps', async () => {
  const shapes = [
    [2, 8, 9, 9],
    [5, 8, 3, 3],
  ];
  expect(await count(shapes, (x, weight) => conv2d(x, weight, null, { padding: 1 }))).toBe(2 * 2 * 81 * 5 * 8 * 9);
  expect(await count(shapes, (x, weight) => conv2d(x, weight, null, { padding: 1, stride: 2 }))).toBe(
    2 * 2 * 25 * 5 * 8 * 9,
  );
});

test('attention: two products of queries and keys', async () => {
  const shapes = [
    [2, 3, 10, 8],
    [2, 3, 14, 8],
    [2, 3, 14, 8],
  ];
  expect(await count(shapes, (q, k, v) => attention(q, k, v))).toBe(4 * 2 * 3 * 10 * 14 * 8);
});

test('gradients of convolutions and attention, and elementwise work, count nothing', async () => {
  const conv = [
    [1, 4, 6, 6],
    [4, 4, 3, 3],
  ];
  const forward = 2 * 36 * 4 * 4 * 9;
  expect(await count(conv, (x, weight) => backward(sum(conv2d(x, weight, null, { padding: 1 })), [x])[0]!)).toBe(
    forward,
  );
  expect(forwardFlops([])).toBe(0);
});
