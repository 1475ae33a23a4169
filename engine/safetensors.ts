/**
 * Reading and writing safetensors files: 8 bytes of header length, a JSON header, then the tensors' bytes, little-endian.
 * Tensors are read one at a time, so a file may be larger than memory. Host only.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { check } from './errors.js';
import { replaceFile } from './files.js';
import { fromHalf } from './tensor/dtype.js';

const elementBytes = {
  F64: 8,
  I64: 8,
  U64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

/** Element types as the files name them. */
export type FileDType = keyof typeof elementBytes;

const bytesOf = (dtype: FileDType, shape: readonly number[]): number =>
  shape.reduce((product, n) => product * n, elementBytes[dtype]);

/** One tensor of an open file. */
export interface FileEntry {
  readonly name: string;
  readonly dtype: FileDType;
  readonly shape: readonly number[];
  /** Number of bytes, and the first one's place in the file. */
  readonly bytes: number;
  readonly offset: number;
}

/** A tensor to write. `data` may be a function, called when its turn comes: then only one tensor is in memory at a time. */
export interface FileTensor {
  readonly dtype: FileDType;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView | (() => Promise<ArrayBufferView>);
}

const maxHeaderBytes = 100_000_000; // the format's own limit
const maxReadBytes = 1 << 30; // Node refuses reads of 2 GiB and more

/** An open file: its entries, its metadata, and ranged reads. */
export class SafetensorsFile {
  /** @internal Made by openSafetensors(). */
  constructor(
    readonly path: string,
    private readonly file: FileHandle,
    readonly entries: ReadonlyMap<string, FileEntry>,
    readonly metadata: Readonly<Record<string, string>>,
  ) {}

  /** The entry called `name`. Throws, with the file's name, when there is none. */
  entry(name: string): FileEntry {
    const entry = this.entries.get(name);
    check(entry !== undefined, () => `${this.path}: no tensor ${name} among its ${this.entries.size}`);
    return entry;
  }

  /** Reads the bytes of one tensor, as stored; of `range` where there is one, in bytes from the tensor's first. */
  async readBytes(name: string, range?: { readonly start: number; readonly bytes: number }): Promise<Uint8Array> {
    const { offset, bytes } = this.entry(name);
    const { start, bytes: length } = range ?? { start: 0, bytes };
    check(
      start >= 0 && length >= 0 && start + length <= bytes,
      () => `${this.path}: ${name}: has ${bytes} bytes, asked for ${length} from ${start}`,
    );
    return readRange(this.file, offset + start, length, `${this.path}: ${name}`);
  }

  /** Reads the values of one tensor, as `valuesOf` gives them. */
  async read(name: string): Promise<FileValues> {
    return valuesOf(this.entry(name).dtype, await this.readBytes(name));
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

/** The values of a tensor of a file, as valuesOf gives them. */
export type FileValues = Float32Array | Float64Array | Int32Array | Uint32Array | BigInt64Array | Uint8Array;

/** Bytes as numbers: F16 and BF16 widened to f32, I64 as bigints; types without a GPU counterpart stay bytes. */
export function valuesOf(dtype: FileDType, bytes: Uint8Array): FileValues {
  const { buffer, byteOffset: start } = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  const length = bytes.byteLength / elementBytes[dtype];
  if (dtype === 'F32') return new Float32Array(buffer, start, length);
  if (dtype === 'F64') return new Float64Array(buffer, start, length);
  if (dtype === 'I32') return new Int32Array(buffer, start, length);
  if (dtype === 'U32') return new Uint32Array(buffer, start, length);
  if (dtype === 'I64') return new BigInt64Array(buffer, start, length);
  if (dtype === 'F16') return Float32Array.from(new Uint16Array(buffer, start, length), fromHalf);
  if (dtype === 'BF16')
    return new Float32Array(Uint32Array.from(new Uint16Array(buffer, start, length), (half) => half << 16).buffer);
  return bytes;
}

/** Opens a file and checks its whole header. The caller closes it. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await open(path);
  try {
    const found = await file.stat();
    check(!found.isDirectory(), `${path}: a folder, expected a file`);
    const { size } = found;
    check(size >= 8, `${path}: truncated: ${size} bytes, expected at least the 8 of the header's length`);
    const prefix = await readRange(file, 0, 8, path);
    const headerBytes = Number(new DataView(prefix.buffer).getBigUint64(0, true));
    check(headerBytes <= maxHeaderBytes, `${path}: header of ${headerBytes} bytes, expected at most ${maxHeaderBytes}`);
    check(
      headerBytes <= size - 8,
      `${path}: truncated: header of ${headerBytes} bytes, found ${size - 8} after its length`,
    );
    const header = parseHeader(path, new TextDecoder().decode(await readRange(file, 8, headerBytes, path)));
    const { __metadata__: metadata = {}, ...tensors } = header;
    check(isRecord(metadata), `${path}: __metadata__: expected an object of strings`);
    for (const [key, value] of Object.entries(metadata)) {
      check(
        typeof value === 'string',
        `${path}: __metadata__.${key}: expected a string, found ${JSON.stringify(value)}`,
      );
    }
    const entries = readEntries(path, tensors, 8 + headerBytes, size);
    return new SafetensorsFile(path, file, entries, metadata as Record<string, string>);
  } catch (error) {
    await file.close();
    throw error;
  }
}

function parseHeader(path: string, text: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (error) {
    check(false, `${path}: the header is not JSON: ${(error as Error).message}`);
  }
  check(isRecord(header), `${path}: the header is not an object`);
  return header;
}

/** Checks each entry, and that together they cover the data without overlap or gap. */
function readEntries(path: string, tensors: Record<string, unknown>, dataStart: number, fileSize: number) {
  const dataBytes = fileSize - dataStart;
  const entries = Object.entries(tensors).map(([name, value]): FileEntry => {
    const where = `${path}: ${name}`;
    check(isRecord(value), `${where}: expected an object, found ${JSON.stringify(value)}`);
    const { dtype, shape, data_offsets: range } = value;
    const known = Object.keys(elementBytes);
    check(isFileDType(dtype), `${where}: unknown dtype ${JSON.stringify(dtype)}, expected one of ${known.join(', ')}`);
    check(isSizes(shape), `${where}: shape ${JSON.stringify(shape)}, expected a list of sizes`);
    const isRange = isSizes(range) && range.length === 2;
    check(isRange, `${where}: data_offsets ${JSON.stringify(range)}, expected [start, end]`);
    const [start, end] = range as [number, number];
    const bytes = bytesOf(dtype, shape);
    const found = `${end - start} (${start} to ${end})`;
    check(end - start === bytes, `${where}: [${shape}] ${dtype} needs ${bytes} bytes, found ${found}`);
    check(end <= dataBytes, `${where}: ends at byte ${end}, but the file has ${dataBytes} (truncated?)`);
    return { name, dtype, shape, bytes, offset: dataStart + start };
  });
  let covered = 0;
  for (const { name, offset, bytes } of [...entries].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    const start = offset - dataStart;
    const fault = start < covered ? 'overlaps the tensor before it' : 'leaves a gap';
    check(start === covered, `${path}: ${name} ${fault}: starts at byte ${start}, expected ${covered}`);
    covered += bytes;
  }
  check(covered === dataBytes, `${path}: ${dataBytes} bytes of data, expected ${covered} by its header`);
  return new Map(entries.map((entry) => [entry.name, entry]));
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isFileDType = (value: unknown): value is FileDType =>
  typeof value === 'string' && Object.hasOwn(elementBytes, value);
const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);

/** Bytes of an open file from `start`. Throws, with `what` in front, where the file ends before. */
export async function readRange(
  file: FileHandle,
  start: number,
  bytes: number,
  what: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const data = new Uint8Array(bytes);
  for (let done = 0; done < bytes; ) {
    const { bytesRead } = await file.read(data, done, Math.min(bytes - done, maxReadBytes), start + done);
    check(bytesRead > 0, `${what}: truncated: expected ${bytes} bytes, found ${done}`);
    done += bytesRead;
  }
  return data;
}

/**
 * Writes a file whole or not at all, and onto the disk. The tensors lie in order of falling element size, so that each is
 * aligned.
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, FileTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const order = Object.entries(tensors).sort(([, a], [, b]) => elementBytes[b.dtype] - elementBytes[a.dtype]);
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {};
  let end = 0;
  for (const [name, { dtype, shape }] of order) {
    check(name !== '__metadata__', `${path}: __metadata__ is no name for a tensor`);
    const start = end;
    end += bytesOf(dtype, shape);
    header[name] = { dtype, shape, data_offsets: [start, end] };
  }
  const text = Buffer.from(JSON.stringify(header));
  const head = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, ' ');
  head.writeBigUInt64LE(BigInt(head.length - 8));
  text.copy(head, 8);

  await replaceFile(path, async (file) => {
    await file.writeFile(head);
    for (const [name, { dtype, shape, data }] of order) {
      const view = typeof data === 'function' ? await data() : data;
      const expected = bytesOf(dtype, shape);
      check(
        view.byteLength === expected,
        `${path}: ${name}: [${shape}] ${dtype} needs ${expected} bytes, found ${view.byteLength}`,
      );
      await file.writeFile(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
    }
  });
}
