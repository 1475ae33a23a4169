/** Filling a network's weights from a folder, and writing them to one. */
import { basename, join } from 'node:path';
import type { Device, Tensor } from '../../engine/index.js';
import { type FileEntry, type FileTensor, type SafetensorsFile, writeSafetensors } from '../../engine/safetensors.js';
import { formatShape } from '../../engine/tensor/shape.js';
import type { Parameter, Parameters } from '../blocks/parameters.js';
import { convert, firstNonFinite, isWeightDType, type Storage, type WeightDType, weightDTypes } from './convert.js';
import { ModelFileError, type Warn } from './errors.js';
import type { KeyLayout } from './key_layouts.js';
import { findWeights, openWeights, readable } from './weight_files.js';

export interface LoadOptions {
  /** With `fp16`, files of that variant, such as `model.fp16.safetensors`, are preferred. */
  readonly variant?: string | undefined;
  /** Other names of weights in files, and what files hold besides weights. */
  readonly keys?: KeyLayout;
  /**
   * Told of tensors that the network has no place for, which are passed over, as diffusers does, where everything else fits. Such
   * that continue a list of the network's own, as a block after its last, show another network and are refused. Without it every
   * such tensor is refused.
   */
  readonly warn?: Warn | undefined;
}

export interface LoadedWeights {
  readonly files: readonly string[];
  /** The variant that was read, which is another than the one asked for where the folder lacks that. */
  readonly variant: string | undefined;
}

/**
 * Allocates every declared weight on the device and fills it from the files in `folder`. Names and shapes must match exactly,
 * but for the other names in `keys`, what `warn` is told of, and axes of length 1 at the end of a shape (a 1x1 convolution as a matrix). F32, F16,
 * BF16 and F64 become what each weight is stored as. Only a piece of one tensor is in memory at a time.
 *
 * Throws a ModelFileError that lists what is missing, extra, misshapen or of a wrong type, before anything is allocated, or
 * what is not finite; then all weights are disposed of.
 */
export async function loadWeights(
  device: Device,
  folder: string,
  parameters: Parameters,
  { variant, keys, warn }: LoadOptions = {},
): Promise<LoadedWeights> {
  const open: SafetensorsFile[] = [];
  try {
    const files = await findWeights(folder, { variant });
    const entries = new Map<string, Source>();
    const problems: string[] = [];
    for (const [path, names] of files.shards) {
      const file = await openWeights(path);
      open.push(file);
      const prefix = names ? `${basename(path)}: ` : '';
      for (const name of names ?? file.entries.keys()) {
        const entry = file.entries.get(name);
        if (entry) entries.set(name, { file, entry, prefix });
        else problems.push(`${prefix}no ${name}, which the index puts there`);
      }
    }
    await fill(device, files.path, parameters, entries, { keys, problems, warn });
    return { files: [...files.shards.keys()], variant: files.variant };
  } catch (error) {
    parameters.dispose();
    throw error;
  } finally {
    for (const file of open) await file.close();
  }
}

/** What weights are read from: a safetensors file, or another in its place. */
export type WeightSource = Pick<SafetensorsFile, 'path' | 'entries' | 'readBytes' | 'close'>;

/** Does what loadWeights() does from one open file, which stays open. */
export async function loadWeightsFrom(
  device: Device,
  file: WeightSource,
  parameters: Parameters,
  keys?: KeyLayout,
): Promise<void> {
  try {
    const sources = Array.from(file.entries, ([name, entry]) => [name, { file, entry, prefix: '' }] as const);
    await fill(device, file.path, parameters, new Map(sources), { keys });
  } catch (error) {
    parameters.dispose();
    throw error;
  }
}

interface FillOptions extends Pick<LoadOptions, 'warn'> {
  readonly keys?: KeyLayout | undefined;
  readonly problems?: readonly string[];
}

/** A name without its numbers: those of all blocks of a list are one. */
const listOf = (name: string): string => name.replace(/\d+/g, '#');

const described = ({ prefix, entry: { name, shape, dtype } }: Source): string =>
  `${prefix}${name} ${formatShape(shape)} ${dtype}`;

const extrasShown = 3;

/** The first of some things, and how many more there are. */
const listed = (all: readonly string[]): string =>
  all.length > extrasShown + 1
    ? `${all.slice(0, extrasShown).join(', ')} and ${all.length - extrasShown} more`
    : all.join(', ');

/** Allocates the weights and fills them from the tensors found, unless there are problems already. */
async function fill(
  device: Device,
  path: string,
  parameters: Parameters,
  entries: ReadonlyMap<string, Source>,
  { keys, problems = [], warn }: FillOptions,
): Promise<void> {
  const { matches, extra, problems: mismatches } = match(parameters.all, entries, keys);
  const lists = new Set(parameters.all.map(({ name }) => listOf(name)));
  const another = extra.filter(({ entry }) => lists.has(listOf(entry.name)));
  const all = [...problems, ...mismatches];
  if (!warn || all.length > 0 || another.length > 0) {
    const told = !warn || all.length > 0 ? extra : another;
    all.push(...told.map((each) => `${described(each)} is in the file, expected no such weight`));
  } else if (extra.length > 0)
    warn(`${path}: not loaded, as the network has no place for them: ${listed(extra.map(described))}`);
  if (all.length === 0) {
    parameters.allocate(device);
    all.push(...(await readAll(device, matches)));
  }
  if (all.length > 0) throw new ModelFileError(path, all);
}

/** A tensor in a file; `prefix` names the file in messages where there are several. */
interface Source {
  readonly file: WeightSource;
  readonly entry: FileEntry;
  readonly prefix: string;
}

interface Match extends Source {
  readonly parameter: Parameter;
  readonly dtype: WeightDType;
}

/** Finds the tensor of each weight, and says what doesn't fit. */
function match(
  parameters: readonly Parameter[],
  entries: ReadonlyMap<string, Source>,
  { otherNames = () => [], ignore = [] }: KeyLayout = {},
): { matches: Match[]; extra: Source[]; problems: string[] } {
  const matches: Match[] = [];
  const used = new Set<string>();
  const missing: string[] = [];
  const wrong: string[] = [];
  for (const parameter of parameters) {
    const expected = formatShape(parameter.shape);
    const names = [parameter.name, ...otherNames(parameter.name)].filter((name) => entries.has(name));
    for (const name of names) used.add(name);
    if (names.length === 0) {
      missing.push(`${parameter.name} is missing, expected ${expected}`);
      continue;
    }
    const source = entries.get(names[0]!)!;
    const { name, shape, dtype } = source.entry;
    if (!isWeightDType(dtype)) wrong.push(`${source.prefix}${name} is ${dtype}, expected ${weightDTypes.join(', ')}`);
    else if (!sameButForOnes(shape, parameter.shape)) {
      wrong.push(`${source.prefix}${name} is ${formatShape(shape)}, expected ${expected}`);
    } else matches.push({ ...source, parameter, dtype });
  }
  const extra = [...entries.values()].filter(
    ({ entry: { name } }) => !used.has(name) && !ignore.some((pattern) => pattern.test(name)),
  );
  return { matches, extra, problems: [...wrong, ...missing] };
}

/** Whether two shapes are equal after removing the ones at their ends. */
function sameButForOnes(a: readonly number[], b: readonly number[]): boolean {
  const [longer, shorter] = a.length > b.length ? [a, b] : [b, a];
  return longer.every((size, i) => size === (shorter[i] ?? 1));
}

/** So many bytes of a file are read at once, and so many may wait for the GPU: this bounds the memory on the host. */
const pieceBytes = 64 << 20;
const waitingBytes = 256 << 20;

/** Reads, converts and uploads each tensor in the order of the file, and says which are not finite. */
async function readAll(device: Device, matches: readonly Match[]): Promise<string[]> {
  const problems: string[] = [];
  let waiting = 0;
  for (const each of [...matches].sort((a, b) => a.entry.offset - b.entry.offset)) {
    const problem = await readOne(device, each);
    if (problem) problems.push(problem);
    waiting += each.parameter.tensor.bytes;
    if (waiting < waitingBytes) continue;
    await device.sync();
    waiting = 0;
  }
  await device.sync();
  return problems;
}

async function readOne(device: Device, { file, entry, prefix, parameter, dtype }: Match): Promise<string | undefined> {
  const { tensor } = parameter;
  const elementBytes = entry.bytes / Math.max(1, tensor.size);
  const target = tensor.dtype as Storage; // Parameters declares no other
  for (let start = 0; start < entry.bytes; start += pieceBytes) {
    const bytes = await readable(file.path, () =>
      file.readBytes(entry.name, { start, bytes: Math.min(pieceBytes, entry.bytes - start) }),
    );
    const elements = convert(bytes, dtype, target);
    const bad = firstNonFinite(elements);
    if (bad >= 0) {
      const value = convert(bytes.slice(bad * elementBytes, (bad + 1) * elementBytes), dtype, 'f32')[0]!;
      const found = `${prefix}${entry.name} holds ${value} at element ${start / elementBytes + bad}`;
      const stored = Number.isFinite(value) ? 'at most 65504 in f16: load it as f32' : 'a finite number';
      return `${found}, expected ${stored}`;
    }
    const offset = (start / elementBytes) * elements.BYTES_PER_ELEMENT;
    device.write(tensor.storage, new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength), offset);
  }
  return undefined;
}

export interface SaveOptions {
  /** Element type in the file. Default F32. */
  readonly dtype?: 'F32' | 'F16';
  /** Name without extension: `diffusion_pytorch_model` (default), or `model` as transformers has it. */
  readonly name?: string;
}

/** Writes every declared weight to one file in `folder`, whole or not at all. Returns its path. */
export async function saveWeights(
  folder: string,
  parameters: Pick<Parameters, 'all'>,
  { dtype = 'F32', name = 'diffusion_pytorch_model' }: SaveOptions = {},
): Promise<string> {
  const path = join(folder, `${name}.safetensors`);
  const tensors = parameters.all.map((parameter) => [parameter.name, fileTensor(parameter.tensor, dtype)]);
  await writeSafetensors(path, Object.fromEntries(tensors), { format: 'pt' });
  return path;
}

/** A tensor to write, whose values times `factor` are read back when its turn comes. */
export function fileTensor(tensor: Tensor, dtype: 'F32' | 'F16', factor = 1): FileTensor {
  const { shape } = tensor;
  const data = async (): Promise<ArrayBufferView> => {
    const values = Float32Array.from(await tensor.data(), (value) => value * factor);
    return fileElements(values, dtype, `${tensor}`);
  };
  return { dtype, shape, data };
}

/** Values as a file of `dtype` holds them. Throws where one is not finite there. */
export function fileElements(values: Float32Array, dtype: 'F32' | 'F16', name: string): Float32Array | Uint16Array {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const elements = convert(bytes, 'F32', dtype === 'F16' ? 'f16' : 'f32');
  const bad = firstNonFinite(elements);
  if (bad >= 0) throw new Error(`a value of ${name} is ${values[bad]}, which a file of ${dtype} can't hold`);
  return elements;
}
