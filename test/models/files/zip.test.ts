import { expect, test } from 'vitest';
import { dataStart, isZip, zipMembers } from '../../../models/files/zip.js';

/** Little-endian fields of [bytes, value]. */
function fields(...list: readonly (readonly [1 | 2 | 4 | 8, number])[]): Buffer {
  return Buffer.concat(
    list.map(([bytes, value]) => {
      const field = Buffer.alloc(bytes);
      for (let i = 0, rest = value; i < bytes; i++, rest = Math.floor(rest / 256)) field[i] = rest % 256;
      return field;
    }),
  );
}

const full = 0xffffffff;
const data = Buffer.from('stored');
const local = Buffer.concat([
  fields([4, 0x04034b50], [2, 45], [2, 0], [2, 0], [4, 0], [4, 0], [4, data.length], [4, data.length], [2, 3], [2, 5]),
  Buffer.from('a/b'),
  Buffer.alloc(5),
]);

/** An archive of one member whose places stand in 64-bit fields, or in the usual ones. */
function archive(wide: boolean): Buffer {
  const start = 16; // bytes in front, so that offset 0 is no lucky guess
  const extra = wide ? fields([2, 1], [2, 24], [8, data.length], [8, data.length], [8, start]) : Buffer.alloc(0);
  const place = (value: number): number => (wide ? full : value);
  const entry = Buffer.concat([
    fields([4, 0x02014b50], [2, 45], [2, 45], [2, 0], [2, 0], [4, 0], [4, 0]),
    fields([4, place(data.length)], [4, place(data.length)], [2, 3], [2, extra.length], [2, 0], [2, 0], [2, 0], [4, 0]),
    fields([4, place(start)]),
    Buffer.from('a/b'),
    extra,
  ]);
  const list = start + local.length + data.length;
  const record = fields([4, 0x06064b50], [8, 44], [2, 45], [2, 45], [4, 0], [4, 0], [8, 1], [8, 1], [8, entry.length]);
  const wideEnd = Buffer.concat([
    record,
    fields([8, list]),
    fields([4, 0x07064b50], [4, 0], [8, list + entry.length], [4, 1]),
  ]);
  const comment = Buffer.from('a comment');
  const end = fields(
    [4, 0x06054b50],
    [2, 0],
    [2, 0],
    [2, 1],
    [2, 1],
    [4, place(entry.length)],
    [4, place(list)],
    [2, 9],
  );
  return Buffer.concat([Buffer.alloc(start), local, data, entry, wide ? wideEnd : Buffer.alloc(0), end, comment]);
}

test.each([false, true])('members of an archive, 64-bit %s', async (wide) => {
  const bytes = archive(wide);
  const read = async (start: number, count: number): Promise<Uint8Array> => bytes.subarray(start, start + count);
  const members = await zipMembers(read, bytes.length);
  expect(members).toEqual([{ name: 'a/b', bytes: 6, header: 16, method: 0 }]);
  const start = await dataStart(read, members[0]!);
  expect(bytes.subarray(start, start + 6).toString()).toBe('stored');
  expect(isZip(bytes.subarray(16))).toBe(true);
  expect(isZip(bytes)).toBe(false);
});

test('an archive with a damaged list, and one without', async () => {
  const bytes = archive(false);
  bytes[16 + local.length + data.length] = 0;
  const read = async (start: number, count: number): Promise<Uint8Array> => bytes.subarray(start, start + count);
  await expect(zipMembers(read, bytes.length)).rejects.toThrow('its list of members is damaged at byte 60');
  await expect(zipMembers(read, 60)).rejects.toThrow('no list of members at its end');
  await expect(dataStart(read, { name: 'x', bytes: 1, header: 3, method: 0 })).rejects.toThrow(
    'no member begins at byte 3',
  );
});
