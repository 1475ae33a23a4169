import { expect, test, vi } from 'vitest';
import { assignRows, embedding, indexSelect } from '../../../engine/ops/index.js';
import { scope } from '../../../engine/tensor/scope.js';
import { backward } from '../../../engine/tensor/tape.js';
import { tensor } from '../../../engine/tensor/tensor.js';
import {
  checkBatchInvariance,
  checkForward,
  checkGradients,
  type Host,
  host,
  random,
  testDevice,
  upload,
} from '../../check.js';
import { rows } from '../../references/shape.js';

const device = await testDevice();

const reference = (ids: Host, table: Host): Host => rows(table, ids, [...ids.shape, table.shape[1]!]);
const ids = host([2, 5], [0, 3, 3, 6, 1, 3, 0, 2, 6, 0]);
const dtypes = ['u32', 'f32'] as const;

test('rows in fours and odd rows, and the gradient to the table, agree with double precision', async () => {
  for (const width of [8, 7, 1]) {
    const inputs = [ids, random([7, width], 1)];
    await checkForward(device, embedding, reference, inputs, { terms: 1, dtypes });
    await checkGradients(device, embedding, reference, inputs, { terms: 3, dtypes });
  }
});

test('an f16 table is read without shader-f16 and gives f32', async () => {
  for (const width of [8, 7]) {
    const inputs = [ids, random([7, width], 2, { dtype: 'f16' })];
    await checkForward(device, embedding, reference, inputs, { terms: 1, dtypes: ['u32', 'f16'] });
  }
});

test.skipIf(!device.features.f16)('the gradient of an f16 table is f16 (needs shader-f16)', async () => {
  const inputs = [ids, random([7, 8], 3, { dtype: 'f16' })];
  await checkGradients(device, embedding, reference, inputs, { terms: 3, dtypes: ['u32', 'f16'] });
});

test('ids past the end of the table give its last row', async () => {
  const inputs = [host([3], [6, 7, 4294967295]), random([7, 4], 4)];
  await checkForward(device, embedding, reference, inputs, { terms: 1, dtypes });
  await checkGradients(device, embedding, reference, inputs, { terms: 3, dtypes });
});

test('an id past the end that comes first of its row leads its gradient to the last row', async () => {
  for (const rows of [8, 7])
    for (const width of [8, 7]) {
      const inputs = [host([3], [7, 6, 4294967295]), random([rows, width], 4)];
      await checkForward(device, embedding, reference, inputs, { terms: 1, dtypes });
      await checkGradients(device, embedding, reference, inputs, { terms: 3, dtypes });
    }
});

test('rows of a sample have the same bits in any batch', async () => {
  await checkBatchInvariance(device, embedding, [ids, random([7, 8], 5)], { batched: [0], dtypes });
});

test('a table larger than a binding is read in parts', async () => {
  const limits = { ...limitsOf(), maxStorageBufferBindingSize: 1024 };
  const spy = vi.spyOn(device, 'limits', 'get').mockReturnValue(limits as GPUSupportedLimits);
  try {
    for (const [width, dtype] of [
      [8, 'f32'],
      [7, 'f32'],
      [7, 'f16'],
    ] as const) {
      const inputs = [random([57], 6, { low: 0, high: 300, dtype: 'u32' }), random([300, width], 7, { dtype })];
      await checkForward(device, embedding, reference, inputs, { terms: 1, dtypes: ['u32', dtype] });
    }
  } finally {
    spy.mockRestore();
  }
});

/** The limits as a plain object: GPUSupportedLimits has getters only. */
function limitsOf(): Record<string, number> {
  const limits: Record<string, number> = {};
  for (const key in device.limits) limits[key] = device.limits[key as keyof GPUSupportedLimits] as number;
  return limits;
}

test('indexSelect picks samples along axis 0, with its gradient', async () => {
  const inputs = [random([5, 3, 4], 8), host([6], [4, 0, 4, 2, 4, 9])];
  const select = (x: Host, indices: Host): Host => rows(x, indices, [6, 3, 4]);
  const options = { terms: 4, dtypes: ['f32', 'u32'] as const };
  await checkForward(device, indexSelect, select, inputs, options);
  await checkGradients(device, indexSelect, select, inputs, options);
});

test('indexSelect moves integers as they are', async () => {
  const y = scope(device, () =>
    indexSelect(tensor(device, [1, 2, 4294967295], [3], 'u32'), tensor(device, [2, 0], [2], 'u32')),
  );
  expect([...(await y.data())]).toEqual([4294967295, 1]);
  y.dispose();
});

test('the gradient of many equal ids has the same bits in every run', async () => {
  const many = random([500], 9, { low: 0, high: 3, dtype: 'u32' });
  const dy = random([500, 4], 10);
  const runs: number[][] = [];
  for (let i = 0; i < 3; i++) {
    const [gradient] = scope(device, () => {
      const table = tensor(device, Array(16).fill(0), [4, 4]).requireGrad();
      return backward(embedding(upload(device, many, 'u32'), table), [table], { seed: upload(device, dy) });
    });
    runs.push([...(await gradient!.data())]);
    gradient!.dispose();
  }
  expect(runs[1]).toEqual(runs[0]);
  expect(runs[2]).toEqual(runs[0]);
  expect(runs[0]!.slice(12)).toEqual([0, 0, 0, 0]); // a row that no id names
});

test('refused arguments are named', () => {
  scope(device, () => {
    const table = tensor(device, [1, 2, 3, 4], [2, 2]);
    const whole = tensor(device, [0, 1], [2], 'u32');
    expect(() => embedding(table, table)).toThrow('embedding: expected ids of u32, found [2, 2] f32');
    expect(() => embedding(whole, whole)).toThrow('embedding: expected a table of f32 or f16, found [2] u32');
    expect(() => embedding(whole, tensor(device, [1, 2]))).toThrow('embedding: expected 2 axes, found 1: [2]');
    expect(() => indexSelect(table, table)).toThrow(
      'indexSelect: expected indices of u32 in one axis, found [2, 2] f32',
    );
  });
});

test('assignRows writes the named rows and leaves the others, also in parts of a binding', async () => {
  const limits = { ...limitsOf(), maxStorageBufferBindingSize: 1024 };
  for (const [width, dtype] of [
    [8, 'f32'],
    [7, 'f32'],
    [1, 'u32'],
  ] as const) {
    const [before, source] = [
      random([300, width], 1, { dtype, low: 0, high: 99 }),
      random([4, width], 2, { dtype, low: 0, high: 99 }),
    ];
    const places = [299, 0, 130, 4_000_000_000]; // the last names no row
    const expected = Array.from(before.data);
    for (const [i, place] of places.slice(0, 3).entries())
      for (let k = 0; k < width; k++) expected[place * width + k] = source.data[i * width + k]!;
    for (const small of [false, true]) {
      const spy = vi.spyOn(device, 'limits', 'get');
      if (small) spy.mockReturnValue(limits as GPUSupportedLimits);
      const target = upload(device, before, dtype);
      scope(device, () => assignRows(target, tensor(device, places, [4], 'u32'), upload(device, source, dtype)));
      spy.mockRestore();
      expect(Array.from(await target.data()), `${width} ${dtype}`).toEqual(expected);
      target.dispose();
    }
  }
});

test('assignRows refuses rows of another shape or dtype', () => {
  const rowsOfFour = tensor(device, Array(8).fill(0), [2, 4]);
  const one = tensor(device, [0], [1], 'u32');
  const wrong = tensor(device, [1, 2, 3], [1, 3]);
  expect(() => assignRows(rowsOfFour, one, wrong)).toThrow(
    "assignRows: the target is [2, 4] f32, the source [1, 3] f32, expected 1 rows of the target's",
  );
  for (const each of [rowsOfFour, one, wrong]) each.dispose();
});
