/** Files of LoRA weights, in the layouts of PEFT, diffusers and kohya. */
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type FileTensor, type SafetensorsFile, writeSafetensors } from '../../engine/safetensors.js';
import { formatShape, sameShape } from '../../engine/tensor/shape.js';
import type { Parameters } from '../blocks/parameters.js';
import { convert, firstNonFinite, isWeightDType, weightDTypes } from '../files/convert.js';
import { ModelFileError } from '../files/errors.js';
import { openWeights, readable, readJson, shown, writeJson } from '../files/weight_files.js';
import { fileTensor } from '../files/weights.js';
import { Lora, type LoraModule, type LoraValues } from './lora.js';

/** The part of a pipeline that adapters belong to; files name it. */
export type LoraComponent = 'unet' | 'transformer';

export interface SaveLoraOptions {
  /**
   * - `diffusers`: pytorch_lora_weights.safetensors for load_lora_weights(). It takes alpha for the rank, so "B" carries
   *   the factor alpha / rank.
   * - `peft`: adapter_model.safetensors and adapter_config.json for PeftModel.from_pretrained().
   * - `kohya`: kohya_lora.safetensors, with alpha beside the weights, for ComfyUI and others. diffusers reads that of a
   *   UNet and passes over that of a transformer.
   */
  readonly format: 'diffusers' | 'peft' | 'kohya';
  readonly component: LoraComponent;
  /** Default F32. */
  readonly dtype?: 'F32' | 'F16';
}

const peftPrefix = 'base_model.model.';
const peftFile = 'adapter_model.safetensors';
const peftConfig = 'adapter_config.json';
const diffusersFile = 'pytorch_lora_weights.safetensors';
const kohyaFile = 'kohya_lora.safetensors';

/** What of a Lora goes into a file. */
export interface LoraWeights {
  readonly modules: readonly Pick<LoraModule, 'name' | 'down' | 'up'>[];
  readonly rank: number;
  readonly alpha: number;
}

/** Writes the adapters into `folder`, which exists. Returns the path of the weights. */
export async function saveLora(
  folder: string,
  lora: LoraWeights,
  { format, component, dtype = 'F32' }: SaveLoraOptions,
): Promise<string> {
  const scale = lora.alpha / lora.rank;
  const tensors: Record<string, FileTensor> = {};
  for (const { name, down, up } of lora.modules) {
    if (format === 'kohya') {
      const key = `lora_${component}_${name.replaceAll('.', '_')}`;
      tensors[`${key}.lora_down.weight`] = fileTensor(down, dtype);
      tensors[`${key}.lora_up.weight`] = fileTensor(up, dtype);
      tensors[`${key}.alpha`] = { dtype: 'F32', shape: [], data: Float32Array.of(scale * down.shape[0]!) };
    } else {
      const key = format === 'peft' ? peftPrefix + name : `${component}.${name}`;
      tensors[`${key}.lora_A.weight`] = fileTensor(down, dtype);
      tensors[`${key}.lora_B.weight`] = fileTensor(up, dtype, format === 'peft' ? 1 : scale);
    }
  }
  const path = join(folder, { diffusers: diffusersFile, peft: peftFile, kohya: kohyaFile }[format]);
  await writeSafetensors(path, tensors, { format: 'pt' }); // loaders of PyTorch ask for the format
  if (format === 'peft') await writeJson(join(folder, peftConfig), adapterConfig(lora));
  return path;
}

/** PEFT's LoraConfig, with the keys that older versions expect and none that they don't know. */
function adapterConfig({ modules, rank, alpha }: LoraWeights): Record<string, unknown> {
  const others = modules.filter(({ down }) => down.shape[0] !== rank);
  const pattern = (value: (own: number) => number) =>
    Object.fromEntries(others.map(({ name, down }) => [name.replaceAll('.', '\\.'), value(down.shape[0]!)]));
  return {
    peft_type: 'LORA',
    task_type: null,
    base_model_name_or_path: null,
    auto_mapping: null,
    revision: null,
    r: rank,
    lora_alpha: alpha,
    target_modules: modules.map(({ name }) => name),
    rank_pattern: pattern((own) => own),
    alpha_pattern: pattern((own) => (own * alpha) / rank),
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: 'gaussian',
    layers_to_transform: null,
    layers_pattern: null,
    modules_to_save: null,
    use_rslora: false,
    use_dora: false,
  };
}

/** How strong each module is: what adapter_config.json says, or a diffusers file's metadata, or neither. */
interface Strength {
  /** Where it is written, for messages. */
  readonly source: string;
  readonly rank: number | undefined;
  readonly alpha: number | undefined;
  /** The scale is alpha / sqrt(rank). */
  readonly rootRank: boolean;
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
}

/**
 * Puts the adapters of a file on the network's layers. `path` is a folder of PEFT or diffusers, or a file of either, also
 * with the older names of diffusers. Adapters for other components of the pipeline are passed over. Where nothing says
 * otherwise alpha is the rank, as in diffusers.
 *
 * Throws a ModelFileError that lists keys of other kinds, layers the network lacks, halves without their counterpart, and
 * what is misshapen or not finite; then the network is as it was.
 */
export async function loadLora(path: string, parameters: Parameters, options: LoadLoraOptions): Promise<Lora> {
  return Lora.of(parameters, await readLora(path, parameters, options));
}

export interface LoadLoraOptions {
  readonly component: LoraComponent;
}

/** What loadLora() puts on the network: each module's values, scaled by alpha / rank of them all. */
export interface LoraFile {
  readonly rank: number;
  readonly alpha: number;
  readonly values: ReadonlyMap<string, LoraValues>;
}

/** Reads and checks what loadLora() loads, and leaves the network as it is. */
export async function readLora(
  path: string,
  parameters: Parameters,
  { component }: LoadLoraOptions,
): Promise<LoraFile> {
  const file = await openWeights(await locate(path));
  try {
    const isPeft = [...file.entries.keys()].some((key) => key.startsWith(peftPrefix));
    const config = join(dirname(file.path), peftConfig);
    const strength = isPeft ? readStrength(config, await readJson(config)) : metadataStrength(file, component);
    const prefix = isPeft ? peftPrefix : `${component}.`;
    const { pairs, problems } = pairKeys(file, prefix);
    const values = new Map<string, LoraValues>();
    const ranks = [...pairs.values()].map(({ down }) => (down ? file.entry(down).shape[0]! : 1));
    const rank = strength.rank ?? Math.max(1, ...ranks);
    const scale = scaleOf(strength, rank, strength.alpha ?? rank);
    for (const [name, pair] of pairs) {
      const found = await readModule(file, parameters, name, pair);
      if (Array.isArray(found)) {
        problems.push(...found);
        continue;
      }
      const own = patterned(strength.rankPattern, name) ?? strength.rank ?? found.rank;
      if (own !== found.rank)
        problems.push(`${pair.down} has rank ${found.rank}, expected ${own} by ${strength.source}`);
      const alpha = patterned(strength.alphaPattern, name) ?? strength.alpha ?? own;
      const factor = scaleOf(strength, own, alpha) / scale; // modules of another strength carry the difference
      values.set(name, factor === 1 ? found : { ...found, up: found.up.map((value) => value * factor) });
    }
    if (problems.length > 0) throw new ModelFileError(file.path, problems);
    return { rank, alpha: scale * rank, values };
  } finally {
    await file.close();
  }
}

const scaleOf = ({ rootRank }: Strength, rank: number, alpha: number): number =>
  alpha / (rootRank ? Math.sqrt(rank) : rank);

async function locate(path: string): Promise<string> {
  const { isFolder } = await readable(path, async () => ({ isFolder: (await stat(path)).isDirectory() }));
  if (!isFolder) return path;
  for (const name of [peftFile, diffusersFile]) {
    if (await stat(join(path, name)).catch(() => undefined)) return join(path, name);
  }
  throw new ModelFileError(path, [`no LoRA weights: expected ${peftFile} or ${diffusersFile}`]);
}

/** Reads the keys of a LoraConfig, each behind `prefix`. PEFT's default for alpha is no one's: a config has to say it. */
function readStrength(path: string, config: Readonly<Record<string, unknown>>, prefix = ''): Strength {
  const problems: string[] = [];
  const expect = <T>(key: string, isRight: (value: unknown) => value is T, expected: string): T | undefined => {
    const value = config[prefix + key] ?? undefined;
    if (value === undefined || isRight(value)) return value;
    problems.push(`${prefix}${key} is ${shown(value)}, expected ${expected}`);
    return undefined;
  };
  const isPositive = (value: unknown): value is number => typeof value === 'number' && value > 0;
  const isPattern = (value: unknown): value is Record<string, number> =>
    typeof value === 'object' &&
    value !== null &&
    Object.entries(value).every(([key, n]) => isRegExp(key) && isPositive(n));
  const strength = {
    source: basename(path),
    rank: expect('r', (value): value is number => isPositive(value) && Number.isInteger(value), 'a positive integer'),
    alpha: expect('lora_alpha', isPositive, 'a positive number'),
    rootRank: expect('use_rslora', (value): value is boolean => typeof value === 'boolean', 'true or false') ?? false,
    rankPattern: expect('rank_pattern', isPattern, 'an object of ranks by pattern') ?? {},
    alphaPattern: expect('alpha_pattern', isPattern, 'an object of alphas by pattern') ?? {},
  };
  expect('peft_type', (value): value is 'LORA' => value === 'LORA', '"LORA"');
  expect('use_dora', (value): value is false => value === false, 'false: only plain LoRA can be read');
  for (const key of ['r', 'lora_alpha']) {
    if (config[prefix + key] === undefined) problems.push(`${prefix}${key} is missing, expected a positive number`);
  }
  if (problems.length > 0) throw new ModelFileError(path, problems);
  return strength;
}

function isRegExp(source: string): boolean {
  try {
    return new RegExp(source) instanceof RegExp;
  } catch {
    return false;
  }
}

const metadataKey = 'lora_adapter_metadata';

/** What diffusers writes into the header; files without it have alpha = rank. */
function metadataStrength(file: SafetensorsFile, component: LoraComponent): Strength {
  let config: unknown;
  try {
    config = JSON.parse(file.metadata[metadataKey] ?? '{}');
  } catch (error) {
    throw new ModelFileError(file.path, [`${metadataKey} is not JSON: ${(error as Error).message}`], { cause: error });
  }
  if (typeof config !== 'object' || config === null) {
    throw new ModelFileError(file.path, [`${metadataKey} is ${shown(config)}, expected an object`]);
  }
  const prefix = `${component}.`;
  if (Object.keys(config).some((key) => key.startsWith(prefix))) {
    return readStrength(file.path, config as Record<string, unknown>, prefix); // an object, as checked above
  }
  const nothing = { rank: undefined, alpha: undefined, rootRank: false, rankPattern: {}, alphaPattern: {} };
  return { source: basename(file.path), ...nothing };
}

/** The value of the first pattern that matches the end of the name, as PEFT does. */
function patterned(patterns: Readonly<Record<string, number>>, name: string): number | undefined {
  const key = Object.keys(patterns).find(
    (pattern) => name === pattern || new RegExp(`^(?:.*\\.)?(?:${pattern})$`).test(name),
  );
  return key === undefined ? undefined : patterns[key];
}

/** The keys of a module's two halves. */
interface Pair {
  down?: string;
  up?: string;
}

const components = /^(unet|transformer|text_encoder(_\d)?)\./;
const down = /^(.+?)\.(?:lora_A(?:\.default)?|lora\.down|lora_linear_layer\.down)\.weight$/;
const up = /^(.+?)\.(?:lora_B(?:\.default)?|lora\.up|lora_linear_layer\.up)\.weight$/;
const processor = /^(.+)\.processor\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight$/;

/** Sorts the keys behind `prefix` by module. */
function pairKeys(file: SafetensorsFile, prefix: string): { pairs: Map<string, Pair>; problems: string[] } {
  const pairs = new Map<string, Pair>();
  const problems: string[] = [];
  for (const key of file.entries.keys()) {
    if (!key.startsWith(prefix)) {
      if (!components.test(key)) problems.push(`${key} is in the file, expected keys that begin with ${prefix}`);
      continue;
    }
    const module = moduleOf(key.slice(prefix.length));
    if (!module) {
      problems.push(`${key} is in the file, expected lora_A.weight or lora_B.weight of a layer`);
      continue;
    }
    const pair = pairs.get(module.name) ?? {};
    pair[module.half] = key;
    pairs.set(module.name, pair);
  }
  if (pairs.size === 0 && problems.length === 0)
    problems.push(`no adapter of this network: expected keys that begin with ${prefix}`);
  return { pairs, problems };
}

function moduleOf(key: string): { name: string; half: 'down' | 'up' } | undefined {
  const old = processor.exec(key);
  if (old) {
    const layer = old[2] === 'to_out' ? 'to_out.0' : old[2];
    return { name: `${old[1]}.${layer}`, half: old[3] === 'down' ? 'down' : 'up' };
  }
  const [first, second] = [down.exec(key), up.exec(key)];
  if (first) return { name: first[1]!, half: 'down' };
  return second ? { name: second[1]!, half: 'up' } : undefined;
}

/** The values of one module, or what is wrong with it. */
async function readModule(
  file: SafetensorsFile,
  { linears }: Parameters,
  name: string,
  pair: Pair,
): Promise<LoraValues | string[]> {
  const layer = linears.get(name);
  if (!layer) return [`${pair.down ?? pair.up} is for a layer that the network does not have as a linear one`];
  if (!pair.down || !pair.up) return [`${pair.down ?? pair.up} is alone, expected both halves of ${name}`];
  const [outFeatures, inFeatures] = layer.weight.dims(2);
  const rank = file.entry(pair.down).shape[0] ?? 0;
  const halves = [
    { key: pair.down, expected: [rank, inFeatures] },
    { key: pair.up, expected: [outFeatures, rank] },
  ];
  const problems: string[] = [];
  const values: Float32Array[] = [];
  for (const { key, expected } of halves) {
    const { shape, dtype } = file.entry(key);
    if (!isWeightDType(dtype)) problems.push(`${key} is ${dtype}, expected ${weightDTypes.join(', ')}`);
    else if (!sameShape(shape, expected) || rank === 0) {
      problems.push(`${key} is ${formatShape(shape)}, expected ${formatShape(expected)}`);
    } else {
      const bytes = await readable(file.path, () => file.readBytes(key));
      const elements = convert(bytes, dtype, 'f32') as Float32Array; // f32 gives no other
      const bad = firstNonFinite(elements);
      if (bad >= 0) problems.push(`${key} holds ${elements[bad]} at element ${bad}, expected a finite number`);
      values.push(elements);
    }
  }
  return problems.length > 0 ? problems : { rank, down: values[0]!, up: values[1]! };
}
