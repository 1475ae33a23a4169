/** The safetensors reader and writer: round trips, ranged reads, and a message for every kind of damage. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openSafetensors, writeSafetensors } from '../../engine/safetensors.js';
import { toHalf } from '../../engine/tensor/dtype.js';
import { temporaryFolder } from '../temporary.js';

const folder = temporaryFolder();
const path = join(folder, 'file.safetensors');

/** Writes a file by hand: any header, any data. */
function damaged(header: unknown, dataBytes: number, headerBytes?: number): string {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(headerBytes ?? text.length));
  writeFileSync(path, Buffer.concat([length, text, Buffer.alloc(dataBytes)]));
  return path;
}

const f32 = (start: number, end: number, shape = [(end - start) / 4]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [start, end],
});

test('what is written is read back, with shapes, metadata and aligned data', async () => {
  const half = Uint16Array.from([1.5, -2, 65504], toHalf);
  await writeSafetensors(
    path,
    {
      half: { dtype: 'F16', shape: [3], data: half },
      brain: { dtype: 'BF16', shape: [2], data: new Uint16Array([0x3fc0, 0xc000]) },
      float: { dtype: 'F32', shape: [2, 2], data: async () => new Float32Array([1, 2, 3, 4]) },
      double: { dtype: 'F64', shape: [], data: new Float64Array([0.1]) },
      ids: { dtype: 'I64', shape: [1], data: new BigInt64Array([-7n]) },
      signed: { dtype: 'I32', shape: [1], data: new Int32Array([-7]) },
      unsigned: { dtype: 'U32', shape: [1], data: new Uint32Array([2 ** 32 - 1]) },
      none: { dtype: 'F32', shape: [0, 4], data: new Float32Array(0) },
      mask: { dtype: 'BOOL', shape: [3], data: new Uint8Array([1, 0, 1]) },
    },
    { format: 'pt', note: 'größer' },
  );
  const file = await openSafetensors(path);
  expect(file.metadata).toEqual({ format: 'pt', note: 'größer' });
  expect(file.entry('float')).toMatchObject({ name: 'float', dtype: 'F32', shape: [2, 2], bytes: 16 });
  expect([...(await file.read('half'))]).toEqual([1.5, -2, 65504]);
  expect([...(await file.read('brain'))]).toEqual([1.5, -2]);
  expect(await file.read('float')).toEqual(new Float32Array([1, 2, 3, 4]));
  expect(await file.read('double')).toEqual(new Float64Array([0.1]));
  expect(await file.read('ids')).toEqual(new BigInt64Array([-7n]));
  expect(await file.read('signed')).toEqual(new Int32Array([-7]));
  expect(await file.read('unsigned')).toEqual(new Uint32Array([2 ** 32 - 1]));
  expect(await file.read('none')).toEqual(new Float32Array(0));
  expect(await file.read('mask')).toEqual(new Uint8Array([1, 0, 1]));
  expect(await file.readBytes('half')).toEqual(new Uint8Array(half.buffer));
  expect(await file.readBytes('half', { start: 2, bytes: 4 })).toEqual(new Uint8Array(half.buffer).slice(2));
  await expect(file.readBytes('half', { start: 4, bytes: 4 })).rejects.toThrow(
    /: half: has 6 bytes, asked for 4 from 4/,
  );
  await expect(file.read('absent')).rejects.toThrow(/file\.safetensors: no tensor absent among its 9/);
  await file.close();

  const bytes = readFileSync(path);
  expect(Number(bytes.readBigUInt64LE()) % 8).toBe(0);
  expect(readdirSync(folder)).toEqual(['file.safetensors']);
});

test('a write that fails leaves the old file and no temporary one', async () => {
  await writeSafetensors(path, { a: { dtype: 'F32', shape: [1], data: new Float32Array([5]) } });
  const before = readFileSync(path);
  const broken = { a: { dtype: 'F32', shape: [2], data: new Float32Array([6]) } } as const;
  await expect(writeSafetensors(path, broken)).rejects.toThrow(/: a: \[2\] F32 needs 8 bytes, found 4/);
  expect(readFileSync(path)).toEqual(before);
  expect(readdirSync(folder)).toEqual(['file.safetensors']);
});

test.each([
  [
    'an empty file',
    () => {
      writeFileSync(path, '');
      return path;
    },
    /file\.safetensors: truncated: 0 bytes, expected at least the 8/,
  ],
  ['a header past the end', () => damaged('{}', 0, 100), /truncated: header of 100 bytes, found 2/],
  ['an oversized header', () => damaged('{}', 0, 2 ** 40), /header of 1099511627776 bytes, expected at most 100000000/],
  ['a header that is not JSON', () => damaged('{"a":', 0), /the header is not JSON/],
  ['a header that is a list', () => damaged([], 0), /the header is not an object/],
  ['metadata of numbers', () => damaged({ __metadata__: { a: 1 } }, 0), /__metadata__\.a: expected a string, found 1/],
  ['an entry that is a number', () => damaged({ a: 3 }, 0), /: a: expected an object, found 3/],
  [
    'an unknown dtype',
    () => damaged({ a: { ...f32(0, 4), dtype: 'F8_E4M3' } }, 4),
    /: a: unknown dtype "F8_E4M3", expected one of F64/,
  ],
  ['a negative size', () => damaged({ a: f32(0, 4, [-1]) }, 4), /: a: shape \[-1\], expected a list of sizes/],
  ['three offsets', () => damaged({ a: { ...f32(0, 4), data_offsets: [0, 4, 8] } }, 4), /: a: data_offsets \[0,4,8\]/],
  ['a size that differs', () => damaged({ a: f32(0, 8, [3]) }, 8), /: a: \[3\] F32 needs 12 bytes, found 8 \(0 to 8\)/],
  [
    'a range past the end',
    () => damaged({ a: f32(0, 8) }, 4),
    /: a: ends at byte 8, but the file has 4 \(truncated\?\)/,
  ],
  [
    'an overlap',
    () => damaged({ a: f32(0, 8), b: f32(4, 12) }, 12),
    /: b overlaps the tensor before it: starts at byte 4, expected 8/,
  ],
  ['a gap', () => damaged({ a: f32(0, 4), b: f32(8, 12) }, 12), /: b leaves a gap: starts at byte 8, expected 4/],
  ['bytes left over', () => damaged({ a: f32(0, 4) }, 8), /8 bytes of data, expected 4 by its header/],
])('%s is refused with the file, what came and what was expected', async (_name, write, message) => {
  await expect(openSafetensors(write())).rejects.toThrow(message);
});
