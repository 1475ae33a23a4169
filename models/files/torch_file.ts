/** Reading the weights that torch.save wrote: a zip archive with a pickle of the structure and the bytes of each storage. */
import { type FileHandle, open } from 'node:fs/promises';
import { kindOfFile } from '../../engine/file_kinds.js';
import { type FileDType, type FileEntry, readRange } from '../../engine/safetensors.js';
import { ModelFileError } from './errors.js';
import { Call, Global, Persistent, unpickle } from './pickle.js';
import { readable, wrongKind } from './weight_files.js';
import type { WeightSource } from './weights.js';
import { dataStart, isZip, type ReadRange, type ZipMember, zipMembers } from './zip.js';

const storageTypes: Readonly<Record<string, { readonly dtype: FileDType; readonly bytes: number }>> = {
  DoubleStorage: { dtype: 'F64', bytes: 8 },
  FloatStorage: { dtype: 'F32', bytes: 4 },
  HalfStorage: { dtype: 'F16', bytes: 2 },
  BFloat16Storage: { dtype: 'BF16', bytes: 2 },
  LongStorage: { dtype: 'I64', bytes: 8 },
  IntStorage: { dtype: 'I32', bytes: 4 },
  ShortStorage: { dtype: 'I16', bytes: 2 },
  CharStorage: { dtype: 'I8', bytes: 1 },
  ByteStorage: { dtype: 'U8', bytes: 1 },
  BoolStorage: { dtype: 'BOOL', bytes: 1 },
};

/** A tensor's elements in its storage. */
interface Layout {
  readonly stride: readonly number[];
  /** Bytes of an element. */
  readonly element: number;
  readonly contiguous: boolean;
}

/** An open file. Tensors are read one at a time, in row-major order whatever their strides. */
export class TorchFile implements WeightSource {
  /** @internal Made by openTorchFile(). */
  constructor(
    readonly path: string,
    private readonly file: FileHandle,
    private readonly read: ReadRange,
    readonly entries: ReadonlyMap<string, FileEntry>,
    private readonly layouts: ReadonlyMap<string, Layout>,
  ) {}

  /** The bytes of a tensor, or of a range of them, from an element's beginning. */
  async readBytes(name: string, range?: { readonly start: number; readonly bytes: number }): Promise<Uint8Array> {
    const { offset, bytes, shape } = this.entries.get(name)!;
    const { stride, element, contiguous } = this.layouts.get(name)!;
    const { start, bytes: length } = range ?? { start: 0, bytes };
    if (contiguous) return readable(this.path, () => this.read(offset + start, length));
    const span = 1 + shape.reduce((sum, n, axis) => sum + (n - 1) * stride[axis]!, 0);
    const all = await readable(this.path, () => this.read(offset, span * element));
    const out = new Uint8Array(length);
    for (let i = 0; i < length / element; i++) {
      let index = start / element + i;
      let from = 0;
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        from += (index % shape[axis]!) * stride[axis]!;
        index = Math.floor(index / shape[axis]!);
      }
      out.set(all.subarray(from * element, (from + 1) * element), i * element);
    }
    return out;
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

/**
 * Opens a state dict, or a checkpoint that has one under `state_dict`. What else is in the file is not looked at, and
 * nothing in it is run. The caller closes it. Throws a ModelFileError for files that are no such thing, and for those of
 * torch before 1.6.
 */
export async function openTorchFile(path: string): Promise<TorchFile> {
  const file = await readable(path, () => open(path));
  const read: ReadRange = (start, bytes) => readRange(file, start, bytes, 'archive');
  try {
    const { size } = await file.stat();
    if (size < 4 || !isZip(await read(0, 4))) {
      const kind = await kindOfFile(path);
      throw new Error(
        kind && kind !== 'a pickle of Python'
          ? wrongKind(kind, 'an archive of torch 1.6 or newer')
          : 'no archive of torch 1.6 or newer: load it with torch and save it again, or as safetensors',
      );
    }
    const members = await zipMembers(read, size);
    const pickle = members.find(({ name }) => /^[^/]+\/data\.pkl$/.test(name));
    if (!pickle) throw new Error('an archive without data.pkl, expected what torch.save writes');
    const folder = pickle.name.slice(0, -'data.pkl'.length);
    const byName = new Map(members.map((member) => [member.name, member]));
    const bytesOf = async (member: ZipMember): Promise<Uint8Array> => {
      if (member.method !== 0) throw new Error(`${member.name} is compressed, expected it stored as it is`);
      return read(await dataStart(read, member), member.bytes);
    };
    const order = byName.get(`${folder}byteorder`);
    if (order && Buffer.from(await bytesOf(order)).toString() !== 'little') throw new Error('of a big-endian machine');
    const tensors = tensorsIn(unpickle(await bytesOf(pickle)));
    const entries = new Map<string, FileEntry>();
    const layouts = new Map<string, Layout>();
    for (const [name, { storage, key, first, shape, stride }] of tensors) {
      const member = byName.get(`${folder}data/${key}`);
      if (!member) throw new Error(`${name}: no member data/${key}`);
      if (member.method !== 0) throw new Error(`${member.name} is compressed, expected it stored as it is`);
      const { dtype, bytes: element } = storage;
      const count = shape.reduce((product, n) => product * n, 1);
      const end = count === 0 ? 0 : first + 1 + shape.reduce((sum, n, axis) => sum + (n - 1) * stride[axis]!, 0);
      if (end * element > member.bytes) {
        throw new Error(`${name}: [${shape}] ${dtype} ends at byte ${end * element} of a storage of ${member.bytes}`);
      }
      const offset = (await dataStart(read, member)) + first * element;
      entries.set(name, { name, dtype, shape, bytes: count * element, offset });
      layouts.set(name, { stride, element, contiguous: isContiguous(shape, stride) });
    }
    return new TorchFile(path, file, read, entries, layouts);
  } catch (error) {
    await file.close();
    throw error instanceof ModelFileError
      ? error
      : new ModelFileError(path, [(error as Error).message], { cause: error });
  }
}

interface TorchTensor {
  readonly storage: { readonly dtype: FileDType; readonly bytes: number };
  /** The name of the storage's member in the archive. */
  readonly key: string;
  /** Elements before the tensor's first. */
  readonly first: number;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
}

function tensorsIn(value: unknown): Map<string, TorchTensor> {
  const inner = value instanceof Map ? value.get('state_dict') : undefined;
  const state = inner instanceof Map ? inner : value;
  const tensors = new Map<string, TorchTensor>();
  if (state instanceof Map) {
    for (const [name, item] of state) {
      const tensor = tensorOf(item);
      if (tensor) tensors.set(String(name), tensor);
    }
  }
  if (tensors.size === 0) throw new Error('no tensors by name, expected a state dict or a checkpoint with state_dict');
  return tensors;
}

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);

/** A tensor as the pickle has it: rebuilt from a storage, the first element, sizes and strides. */
function tensorOf(value: unknown): TorchTensor | undefined {
  if (!(value instanceof Call) || !(value.callee instanceof Global)) return undefined;
  const { name } = value.callee;
  if (name === '_rebuild_parameter') return tensorOf(value.args[0]);
  if (name !== '_rebuild_tensor_v2') return undefined;
  const [stored, first, shape, stride] = value.args;
  const [, type, key] = stored instanceof Persistent && Array.isArray(stored.id) ? (stored.id as unknown[]) : [];
  const storage = type instanceof Global ? storageTypes[type.name] : undefined;
  const isPlace = Number.isSafeInteger(first) && (first as number) >= 0;
  if (!storage || !isPlace || !isSizes(shape) || !isSizes(stride) || shape.length !== stride.length) return undefined;
  return { storage, key: String(key), first: first as number, shape, stride };
}

function isContiguous(shape: readonly number[], stride: readonly number[]): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && stride[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
}
