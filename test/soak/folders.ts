/** Folders with a fault in them: of models, of runs and of adapters, and files of prompts and configurations. */
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { type Change, change, changed, share } from './values.js';

/** One fault of a folder: which file, and what becomes of it. */
export interface Fault {
  /** Which of the folder's files, as a share of their number. */
  readonly file: number;
  readonly kind: 'change' | 'cut' | 'flip' | 'remove' | 'empty' | 'folder' | 'foreign' | 'header';
  /** Where it is cut, or what is flipped, as a share of its bytes. */
  readonly at: number;
  readonly bit: number;
  /** Of a JSON file, or of the header of a safetensors file. */
  readonly change: Change;
  readonly foreign: string;
}

export const fault: fc.Arbitrary<Fault> = fc.record({
  file: share,
  kind: fc.constantFrom(
    'change',
    'change',
    'change',
    'change',
    'cut',
    'flip',
    'remove',
    'empty',
    'folder',
    'foreign',
    'header',
  ),
  at: share,
  bit: fc.nat(7),
  change,
  foreign: fc.constantFrom(
    '<!DOCTYPE html><html></html>',
    'version https://git-lfs.github.com/spec/v1\n',
    '\0'.repeat(64),
    'text',
    '{}',
    '[]',
    'null',
    '\x89PNG\r\n\x1a\n',
    'PK\x03\x04',
    '\xff\xfe',
  ),
});

/** The files below a folder, by their paths from there, in order. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
    .sort();
}

/** Makes `to` a copy of a folder with faults. Returns the files that have some. */
export async function damagedCopy(from: string, to: string, faults: readonly Fault[]): Promise<string[]> {
  await rm(to, { recursive: true, force: true });
  await cp(from, to, { recursive: true });
  const files = await filesBelow(to);
  const touched = faults.map((each) => ({ each, name: files[Math.floor(each.file * files.length)]! }));
  for (const { each, name } of touched) await damage(join(to, name), each);
  return touched.map(({ each, name }) => `${each.kind} ${name}`);
}

async function damage(path: string, { kind, at, bit, change: wanted, foreign }: Fault): Promise<void> {
  const bytes = await readFile(path).catch(() => undefined);
  if (!bytes) return; // two faults met
  const place = Math.floor(at * bytes.length);
  switch (kind) {
    case 'cut':
      return writeFile(path, bytes.subarray(0, place));
    case 'flip':
      if (bytes.length > 0) bytes[place]! ^= 1 << bit;
      return writeFile(path, bytes);
    case 'remove':
      return rm(path);
    case 'empty':
      return writeFile(path, '');
    case 'folder':
      await rm(path);
      await mkdir(path);
      return;
    case 'foreign':
      return writeFile(path, Buffer.from(foreign, 'latin1'));
    default:
      return writeFile(
        path,
        path.endsWith('.safetensors') ? withHeader(bytes, wanted) : withJson(bytes.toString(), wanted),
      );
  }
}

/** A JSON text with a change in it; another text as a JSON string with one. */
function withJson(text: string, wanted: Change): string {
  try {
    return JSON.stringify(changed(JSON.parse(text), wanted)) ?? '';
  } catch {
    return `${text}\n${JSON.stringify(wanted.value)}`;
  }
}

/** A safetensors file whose header has a change in it, its length corrected. */
function withHeader(bytes: Buffer, wanted: Change): Buffer {
  if (bytes.length < 16) return bytes; // cut before
  const length = Number(bytes.readBigUInt64LE());
  if (8 + length > bytes.length || bytes[8] !== 0x7b) return bytes; // damaged before
  const header = bytes.subarray(8, 8 + length).toString();
  const text = Buffer.from(withJson(header, wanted));
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([head, text, bytes.subarray(8 + length)]);
}
