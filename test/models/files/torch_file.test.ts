import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fromHalf } from '../../../engine/tensor/dtype.js';
import { packageRoot } from '../../../engine/version.js';
import { Call, Global, Persistent, unpickle } from '../../../models/files/pickle.js';
import { openTorchFile } from '../../../models/files/torch_file.js';
import { expectClose } from '../../check.js';
import { temporaryFolder } from '../../temporary.js';

const rewards = join(packageRoot(), 'test', 'fixtures', 'rewards');
const folder = temporaryFolder();

const floats = (bytes: Uint8Array): number[] =>
  Array.from(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));

test('a state dict of torch.save: names, shapes and values', async () => {
  const file = await openTorchFile(join(rewards, 'clip', 'aesthetic.pth'));
  expect(Array.from(file.entries.values(), ({ name, dtype, shape }) => `${name} ${dtype} ${shape}`)).toEqual([
    ...['layers.0.weight F32 10,12', 'layers.0.bias F32 10', 'layers.2.weight F32 8,10', 'layers.2.bias F32 8'],
    ...['layers.4.weight F32 6,8', 'layers.4.bias F32 6', 'layers.6.weight F32 4,6', 'layers.6.bias F32 4'],
    ...['layers.7.weight F32 1,4', 'layers.7.bias F32 1'],
  ]);
  const weight = floats(await file.readBytes('layers.0.weight'));
  const bound = 1 / Math.sqrt(12); // of torch's own initialisation
  expect(weight.length).toBe(120);
  expect(Math.max(...weight.map(Math.abs))).toBeLessThanOrEqual(bound);
  expect(floats(await file.readBytes('layers.0.weight', { start: 8, bytes: 12 }))).toEqual(weight.slice(2, 5));
  await file.close();
});

test('a checkpoint with a state dict, halves, and a tensor that is a transposed view', async () => {
  const file = await openTorchFile(join(rewards, 'hpsv2', 'HPS_v2.1_compressed.pt'));
  expect(file.entries.get('logit_scale')).toMatchObject({ dtype: 'F16', shape: [], bytes: 2 });
  expect(file.entries.get('visual.proj')).toMatchObject({ dtype: 'F16', shape: [16, 12], bytes: 384 });
  expect(file.entries.has('epoch')).toBe(false);
  const read = async (name: string, range?: { start: number; bytes: number }): Promise<number[]> => {
    const bytes = await file.readBytes(name, range);
    return Array.from(new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2), fromHalf);
  };
  expect((await read('logit_scale'))[0]).toBeCloseTo(4.6, 2);
  const proj = await read('visual.proj');
  const { first_rows: rows } = JSON.parse(readFileSync(join(rewards, 'hpsv2', 'expected.json'), 'utf8'));
  expectClose(proj.slice(0, 24), rows.flat(), 1e-8, 'two rows');
  expect(await read('visual.proj', { start: 2 * 13, bytes: 10 })).toEqual(proj.slice(13, 18));
  await file.close();
});

describe('a file that is no such thing is an error that says so', () => {
  const whole = readFileSync(join(rewards, 'clip', 'aesthetic.pth'));
  const cases: [string, Uint8Array, string][] = [
    ['text', Buffer.from('weights'), 'a text file, expected an archive of torch 1.6 or newer'],
    ['a pointer', Buffer.from('version https://git-lfs'), 'a pointer of git-lfs, expected the file it stands for'],
    ['empty', Buffer.alloc(0), 'an empty file, expected an archive of torch 1.6 or newer'],
    ['of torch before 1.6', Buffer.from('\x80\x02\x8a\x0al\xfc', 'latin1'), 'no archive of torch 1.6 or newer'],
    ['cut short', whole.subarray(0, 3000), 'no list of members at its end: the file is cut short'],
    ['without data.pkl', replaced(whole, 'aesthetic/data.pkl', 'aesthetic/data.pkx'), 'an archive without data.pkl'],
    ['without a storage', replaced(whole, 'aesthetic/data/2', 'aesthetic/data/x'), 'layers.2.weight: no member data/2'],
    [
      'of a tensor larger than its storage',
      replaced(whole, 'K\nK\x0c\x86', 'K\x0bK\x0c\x86'),
      'layers.0.weight: [11,12] F32 ends at byte 528 of a storage of 480',
    ],
    ['of no tensors', replaced(whole, '_rebuild_tensor_v2', '_rebuild_tensor_vx'), 'no tensors by name'],
    ['of a big-endian machine', replaced(whole, 'little', 'biggie'), 'of a big-endian machine'],
  ];
  test.each(cases)('%s', async (name, bytes, message) => {
    const path = join(folder, `${name.replaceAll(' ', '_')}.pth`);
    writeFileSync(path, bytes);
    const error = await openTorchFile(path).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: 'ModelFileError', path });
    expect((error as Error).message).toContain(message);
  });

  test('a file that is not there', async () => {
    await expect(openTorchFile(join(folder, 'none.pth'))).rejects.toThrow('none.pth\n  no such file or folder');
  });
});

/** The bytes with every `from` overwritten by `to`, of the same length. */
function replaced(bytes: Buffer, from: string, to: string): Buffer {
  return Buffer.from(bytes.toString('latin1').replaceAll(from, to), 'latin1');
}

describe('pickles', () => {
  const pickle = (text: string): unknown => unpickle(Buffer.from(text, 'latin1'));

  test('hold plain values', () => {
    expect(
      pickle(
        '\x80\x02}q\x00(X\x01\x00\x00\x00aK\x05X\x01\x00\x00\x00b]q\x01(J\xff\xff\xff\xffM\x00\x01NeX\x01\x00\x00\x00cG?\xf8\x00\x00\x00\x00\x00\x00u.',
      ),
    ).toEqual(
      new Map<string, unknown>([
        ['a', 5],
        ['b', [-1, 256, null]],
        ['c', 1.5],
      ]),
    );
    expect(pickle('\x80\x02\x8a\x02\x00\x80.')).toBe(-32768);
    expect(pickle('\x80\x04\x8c\x03abc\x94h\x00\x86.')).toEqual(['abc', 'abc']);
  });

  test('call nothing: an object is a record', () => {
    const value = pickle('\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.');
    expect(value).toEqual(new Call(new Global('os', 'system'), ['ls']));
    expect(pickle('\x80\x02X\x01\x00\x00\x007Q.')).toEqual(new Persistent('7'));
    expect(pickle('\x80\x02cargparse\nNamespace\n)\x81}X\x01\x00\x00\x00aK\x01sb.')).toEqual(
      new Call(new Global('argparse', 'Namespace'), []),
    );
  });

  test('cut short or of another protocol are errors', () => {
    expect(() => pickle('\x80\x02X\x09\x00\x00\x00abc')).toThrow('the pickle ends at byte 10, within a value');
    expect(() => pickle('\x80\x02cos')).toThrow('within a value');
    expect(() => pickle("\x80\x02S'a'\n.")).toThrow('instruction 83 at byte 2, which is not of protocol 2 to 5');
    expect(() => pickle('\x80\x02.')).toThrow('takes a value');
    expect(() => pickle('\x80\x02K\x01t.')).toThrow('closes a list');
  });
});
