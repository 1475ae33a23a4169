import { expect, test } from 'vitest';
import { capture } from '../../../engine/device/capture.js';
import { arange, full, ones, zeros, zerosLike } from '../../../engine/ops/create.js';
import { add } from '../../../engine/ops/elementwise.js';
import { tensor } from '../../../engine/tensor/tensor.js';
import { testDevice } from '../../check.js';

const device = await testDevice();

test('each function gives its values, in every type, in fours and in odd sizes', async () => {
  const u32 = tensor(device, [7, 8, 9], [3], 'u32');
  const cases = [
    { made: zeros(device, [2, 3]), expected: Array(6).fill(0) },
    { made: ones(device, [2, 4], 'i32'), expected: Array(8).fill(1) },
    { made: full(device, [], -2.5), expected: [-2.5] },
    { made: full(device, [5], 4294967295, 'u32'), expected: Array(5).fill(4294967295) },
    { made: full(device, [4], -7, 'i32'), expected: Array(4).fill(-7) },
    { made: zerosLike(u32), expected: [0, 0, 0] },
    { made: arange(device, 5), expected: [0, 1, 2, 3, 4] },
    { made: arange(device, 4, { start: 3, step: -2 }), expected: [3, 1, -1, -3] },
    { made: arange(device, 3, { start: 16777216, dtype: 'u32' }), expected: [16777216, 16777217, 16777218] },
    { made: arange(device, 3, { start: 1, step: -2, dtype: 'i32' }), expected: [1, -1, -3] },
  ];
  for (const { made, expected } of cases) {
    expect([...(await made.data())]).toEqual(expected);
    made.dispose();
  }
  u32.dispose();
});

test.skipIf(!device.features.f16)('f16 is rounded once (needs shader-f16)', async () => {
  const x = full(device, [3], 0.1, 'f16');
  expect([...(await x.data())]).toEqual(Array(3).fill(0.0999755859375));
  x.dispose();
});

test('a captured step makes its constants in memory that it shares with others', async () => {
  const step = await capture(device, () => ({ y: add(ones(device, [3]), full(device, [3], 2)) }));
  for (let i = 0; i < 2; i++) {
    step.run();
    expect([...(await step.outputs.y.data())]).toEqual([3, 3, 3]);
  }
  step.dispose();
});

test('refused arguments are named', () => {
  expect(() => full(device, [2], Number.NaN)).toThrow('full: expected a finite value, found NaN');
  expect(() => full(device, [2], 0.5, 'u32')).toThrow('full: expected an integer for u32, found 0.5');
  expect(() => zeros(device, [2, -1])).toThrow('zeros: shape [2, -1]: every size must be a positive integer, found -1');
  expect(() => arange(device, 0)).toThrow('arange: shape [0]: every size must be a positive integer, found 0');
  expect(() => arange(device, 2, { step: 0.5, dtype: 'i32' })).toThrow(
    'arange: expected an integer for i32, found 0.5',
  );
});
