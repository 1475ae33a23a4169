/** Where a component's folder keeps its weights: in one safetensors file or in several behind an index, perhaps in variants. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckError } from '../../engine/errors.js';
import { kindOf, kindOfFile, remedyOf } from '../../engine/file_kinds.js';
import { reasonOf, writeWhole } from '../../engine/files.js';
import { openSafetensors, type SafetensorsFile } from '../../engine/safetensors.js';
import { ModelFileError } from './errors.js';

/** The files that hold a component's weights. */
export interface WeightFiles {
  /** The file, or the index of the shards, that messages name. */
  readonly path: string;
  /** The tensors to take from each file; null means all that it has. */
  readonly shards: ReadonlyMap<string, readonly string[] | null>;
  /** `fp16` in `model.fp16.safetensors`; undefined for plain names. */
  readonly variant: string | undefined;
}

const fileName = /^(diffusion_pytorch_model|model)(?:\.(\w+))?\.safetensors$/;
const indexName = /^(diffusion_pytorch_model|model)\.safetensors\.index(?:\.(\w+))?\.json$/;

/**
 * Finds the weights in `folder`, in the layouts of diffusers and transformers. A folder may lack the wanted variant; then
 * the plain files serve, and where there are none the only variant. Throws a ModelFileError when nothing can be loaded.
 */
export async function findWeights(
  folder: string,
  { variant }: { readonly variant?: string | undefined } = {},
): Promise<WeightFiles> {
  const names = (await readable(folder, () => readdir(folder))).sort();
  const found = [fileName, indexName].flatMap((pattern) =>
    names.flatMap((name) => {
      const match = pattern.exec(name);
      return match ? [{ name, variant: match[2], index: pattern === indexName }] : [];
    }),
  );
  const variants = [...new Set(found.map((each) => each.variant))];
  const wanted = [variant, undefined, ...(variants.length === 1 ? variants : [])];
  const chosen = wanted.map((each) => found.find((file) => file.variant === each)).find((file) => file);
  if (!chosen) throw new ModelFileError(folder, [absence(names, variants)]);
  const path = join(folder, chosen.name);
  return {
    path,
    shards: chosen.index ? await readIndex(folder, path) : new Map([[path, null]]),
    variant: chosen.variant,
  };
}

function absence(names: readonly string[], variants: readonly (string | undefined)[]): string {
  const expected = 'expected diffusion_pytorch_model.safetensors or model.safetensors, or their index';
  if (variants.length > 0)
    return `only variants of the weights (${variants.join(', ')}): say which one (--variant, model.variant)`;
  const others = names.filter((name) => /\.(bin|pt|ckpt|msgpack|onnx|safetensors)$/.test(name));
  return others.length > 0
    ? `no weights that can be read: found ${others.slice(0, 3).join(', ')}, ${expected}`
    : `no weights: ${expected}`;
}

/** Reads which file holds each tensor. Files are named without a folder, as an index reaches only what lies beside it. */
async function readIndex(folder: string, path: string): Promise<Map<string, string[]>> {
  const index = await readJson(path);
  const map = index.weight_map;
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw new ModelFileError(path, [`weight_map is ${shown(map)}, expected an object of file names by tensor`]);
  }
  const shards = new Map<string, string[]>();
  const problems: string[] = [];
  for (const [name, file] of Object.entries(map)) {
    if (typeof file !== 'string') problems.push(`weight_map.${name} is ${shown(file)}, expected a file name`);
    else if (!/^[^/\\:]+\.safetensors$/.test(file)) {
      problems.push(`weight_map.${name} is ${shown(file)}, expected a .safetensors file of the same folder`);
    } else {
      const shard = join(folder, file);
      shards.set(shard, [...(shards.get(shard) ?? []), name]);
    }
  }
  if (problems.length > 0) throw new ModelFileError(path, problems);
  return shards;
}

/** Python's json writes -Infinity, Infinity and NaN, which are no JSON: the infinities as numbers too large, NaN as null. */
const withoutInfinities = (text: string): string =>
  /\bInfinity\b|\bNaN\b/.test(text)
    ? text.replace(/"(?:[^"\\]|\\.)*"|\bInfinity\b|\bNaN\b/g, (found) =>
        found === 'Infinity' ? '1e999' : found === 'NaN' ? 'null' : found,
      )
    : text;

/** A JSON file's object. Throws a ModelFileError when it is absent, not JSON, or not an object. */
export async function readJson(path: string): Promise<Record<string, unknown>> {
  const bytes = await readable(path, () => readFile(path));
  let value: unknown;
  try {
    value = JSON.parse(withoutInfinities(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch (error) {
    const kind = kindOf(bytes);
    const isText = kind === 'a text file' || kind === 'a JSON file';
    const problem = kind && !isText ? wrongKind(kind, 'JSON') : `not JSON: ${(error as Error).message}`;
    throw new ModelFileError(path, [problem], { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ModelFileError(path, [`expected a JSON object, found ${shown(value)}`]);
  }
  return value as Record<string, unknown>; // an object and no list, as checked above
}

/** A value as it stands in JSON, cut where it is long. */
export function shown(value: unknown): string {
  const text = value === undefined ? 'missing' : JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

/** Opens a safetensors file; what is wrong with it becomes a ModelFileError. The caller closes it. */
export async function openWeights(path: string): Promise<SafetensorsFile> {
  try {
    return await readable(path, () => openSafetensors(path));
  } catch (error) {
    const kind = error instanceof ModelFileError && error.cause instanceof CheckError && (await kindOfFile(path));
    if (!kind || kind === 'a safetensors file' || kind === 'an empty file') throw error; // which says what is damaged
    throw new ModelFileError(path, [wrongKind(kind, 'safetensors')], { cause: error });
  }
}

/** What is said of a file that is of another kind than the expected. */
export const wrongKind = (kind: string, expected: string): string =>
  `${kind}, expected ${remedyOf(kind) ? 'the file it stands for' : expected}${remedyOf(kind)}`;

/** Runs `read`. What the system or the reader of safetensors says against `path` is thrown as a ModelFileError. */
export async function readable<R>(path: string, read: () => Promise<R>): Promise<R> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ModelFileError) throw error;
    const reason = reasonOf(error);
    if (reason !== undefined) throw new ModelFileError(path, [reason], { cause: error });
    if (!(error instanceof CheckError)) throw error;
    const { message } = error;
    const problem = message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message;
    throw new ModelFileError(path, [problem], { cause: error });
  }
}

/** Writes a JSON file as diffusers and transformers do, indented. */
export const writeJson = (path: string, value: unknown): Promise<void> =>
  writeWhole(path, `${JSON.stringify(value, null, 2)}\n`);
