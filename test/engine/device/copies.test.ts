import { expect, test } from 'vitest';
import { capture } from '../../../engine/device/capture.js';
import { add, assign, mul } from '../../../engine/ops/elementwise.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { wholeOf, zerosTogether } from '../../../engine/tensor/together.js';
import { testDevice } from '../../check.js';

const device = await testDevice();

interface Case {
  readonly name: string;
  /** What is captured: x is [1, 2, 3], y and z state of zeros that lies in one buffer. */
  readonly body: (x: Tensor, y: Tensor, z: Tensor) => unknown;
  readonly dispatches: number;
  readonly y: readonly number[];
}

const cases: readonly Case[] = [
  {
    name: 'of a value that nobody else reads is left out',
    body: (x, y) => assign(y, mul(x, 2)),
    dispatches: 1,
    y: [2, 4, 6],
  },
  {
    name: 'of several values to parts of one buffer are all left out',
    body: (x, y, z) => {
      const [a, b] = [mul(x, 2), mul(x, 3)];
      assign(y, a);
      assign(z, b);
    },
    dispatches: 2,
    y: [2, 4, 6],
  },
  { name: 'of an input stays', body: (x, y) => assign(y, x), dispatches: 1, y: [1, 2, 3] },
  {
    name: 'of a value that is read again stays',
    body: (x, y) => {
      const a = mul(x, 2);
      assign(y, a);
      return add(a, 1);
    },
    dispatches: 3,
    y: [2, 4, 6],
  },
  {
    name: 'of a value that is returned stays',
    body: (x, y) => {
      const a = mul(x, 2);
      assign(y, a);
      return a;
    },
    dispatches: 2,
    y: [2, 4, 6],
  },
  {
    name: 'to a tensor that is read in between stays',
    body: (x, y) => {
      const a = mul(x, 2);
      const b = add(y, 1);
      assign(y, a);
      return b;
    },
    dispatches: 3,
    y: [2, 4, 6],
  },
  {
    name: 'to a tensor that its writer reads stays',
    body: (_, y) => assign(y, add(y, 1)),
    dispatches: 2,
    y: [1, 1, 1],
  },
  {
    name: 'beside another part that its writer reads stays',
    body: (_, y, z) => assign(y, add(z, 4)),
    dispatches: 2,
    y: [4, 4, 4],
  },
];

test.each(cases)('in a captured step, a copy $name', async ({ body, dispatches, y: expected }) => {
  const x = tensor(device, [1, 2, 3]);
  const [y, z] = zerosTogether(device, [[3], [3]]) as [Tensor, Tensor];
  const step = await capture(device, () => body(x, y, z));
  expect(step.dispatches).toHaveLength(dispatches);
  step.run();
  expect([...(await y.data())]).toEqual(expected);
  for (const thing of [step, x, y, z]) thing.dispose();
});

test('the reader in between sees what was there before', async () => {
  const x = tensor(device, [1, 2, 3]);
  const y = tensor(device, [10, 20, 30]);
  const step = await capture(device, () => {
    const a = mul(x, 2);
    const b = add(y, 1);
    assign(y, a);
    return b;
  });
  step.run();
  expect([...(await step.outputs.data())]).toEqual([11, 21, 31]);
  for (const thing of [step, x, y]) thing.dispose();
});

test('a reader of the whole buffer in between sees what was there before', async () => {
  const x = tensor(device, [1, 2, 3]);
  const parts = zerosTogether(device, [[3], [3]]) as [Tensor, Tensor];
  const whole = wholeOf(parts)!;
  const [y] = parts;
  y.write([10, 20, 30]);
  const step = await capture(device, () => {
    const a = mul(x, 2);
    const b = add(whole, 1);
    assign(y, a);
    return b;
  });
  step.run();
  expect([...(await step.outputs.data())].slice(0, 3)).toEqual([11, 21, 31]);
  expect([...(await y.data())]).toEqual([2, 4, 6]);
  for (const thing of [step, x, ...parts]) thing.dispose();
});
