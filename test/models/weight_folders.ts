/** What the tests of loading weights share: a small network, its files in a folder of each test's own, and what must hold. */
import { mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { beforeEach, expect } from 'vitest';
import { type FileDType, type FileTensor, writeSafetensors } from '../../engine/safetensors.js';
import { toHalf } from '../../engine/tensor/dtype.js';
import { exitCodeOf } from '../../grpo/finetune/exit_codes.js';
import { conv2d, layerNorm, linear } from '../../models/blocks/layers.js';
import { Parameters } from '../../models/blocks/parameters.js';
import { ModelFileError } from '../../models/files/errors.js';
import { type LoadOptions, loadWeights } from '../../models/files/weights.js';
import { random, testDevice } from '../check.js';
import { temporaryFolder } from '../temporary.js';

export const device = await testDevice();
const root = temporaryFolder();

let folder = '';
let count = 0;

/** The folder of the test at hand. */
export const here = (): string => folder;

/** Goes on in another folder, by default a new one. */
export function goTo(next = join(root, `${count++}`)): void {
  folder = next;
  mkdirSync(folder, { recursive: true });
}
beforeEach(() => goTo());

export const single = 'diffusion_pytorch_model.safetensors';
export const indexFile = 'diffusion_pytorch_model.safetensors.index.json';

/** A network of every kind of weight: a convolution, a norm and a linear layer. */
export function declare(storage: 'f32' | 'f16' = 'f32'): Parameters {
  const parameters = new Parameters({ storage });
  conv2d(parameters, 'conv_in', 3, 4, 1);
  layerNorm(parameters, 'block.norm', 4, 1e-5);
  linear(parameters, 'block.to_q', 4, 5, { bias: false });
  return parameters;
}

export const shapes: Readonly<Record<string, readonly number[]>> = {
  'conv_in.weight': [4, 3, 1, 1],
  'conv_in.bias': [4],
  'block.norm.weight': [4],
  'block.norm.bias': [4],
  'block.to_q.weight': [5, 4],
};

/** The values of a weight: representable in every element type. */
export const valuesOf = (name: string): Float64Array =>
  random(shapes[name]!, name.length, { low: -4, high: 4 }).data.map((value) => Math.round(value * 16) / 16);

export function encode(values: ArrayLike<number>, dtype: FileDType): ArrayBufferView {
  if (dtype === 'F16') return Uint16Array.from(values, toHalf);
  if (dtype === 'F64') return Float64Array.from(values);
  if (dtype === 'I64') return BigInt64Array.from(Array.from(values, (value) => BigInt(Math.round(value))));
  const floats = Float32Array.from(values);
  return dtype === 'BF16' ? Uint16Array.from(new Uint32Array(floats.buffer), (bits) => bits >>> 16) : floats;
}

export const fileTensor = (
  shape: readonly number[],
  values: ArrayLike<number>,
  dtype: FileDType = 'F32',
): FileTensor => ({
  dtype,
  shape,
  data: encode(values, dtype),
});

/** The network's tensors as a file has them; `change` edits the list. */
export function tensors(dtype: FileDType = 'F32', change: Readonly<Record<string, FileTensor | undefined>> = {}) {
  const all = Object.keys(shapes).map((name) => [name, fileTensor(shapes[name]!, valuesOf(name), dtype)] as const);
  const merged = { ...Object.fromEntries(all), ...change };
  return Object.fromEntries(Object.entries(merged).filter((entry): entry is [string, FileTensor] => !!entry[1]));
}

export const write = (file: string, content: Record<string, FileTensor>): Promise<void> =>
  writeSafetensors(join(folder, file), content, { format: 'pt' });

/** Loads, compares every weight with its values, and frees. */
export async function expectLoaded(options: LoadOptions = {}, storage: 'f32' | 'f16' = 'f32') {
  const parameters = declare(storage);
  const loaded = await loadWeights(device, folder, parameters, options);
  for (const { name, tensor } of parameters.all) {
    expect(Array.from(await tensor.data()), name).toEqual(Array.from(valuesOf(name)));
  }
  parameters.dispose();
  return { ...loaded, files: loaded.files.map((file) => basename(file)) };
}

/** The error of a load that must fail, after which no weight is left. */
export async function failure(options: LoadOptions = {}, storage: 'f32' | 'f16' = 'f32'): Promise<ModelFileError> {
  const parameters = declare(storage);
  const error = await loadWeights(device, folder, parameters, options).then(
    () => expect.fail('the folder was accepted'),
    (reason: unknown) => reason,
  );
  expect(parameters.all.every(({ tensor }) => tensor.disposed)).toBe(true);
  expect(error).toBeInstanceOf(ModelFileError);
  expect(exitCodeOf(error)).toBe(6);
  return error as ModelFileError; // as expected above
}
