/** Reading files of LoRA weights, in the layouts of PEFT, diffusers and kohya. */
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { SafetensorsFile } from '../../engine/safetensors.js';
import { formatShape, sameShape } from '../../engine/tensor/shape.js';
import type { Parameters } from '../blocks/parameters.js';
import { convert, firstNonFinite, isWeightDType, weightDTypes } from '../files/convert.js';
import { ModelFileError, processWarning, type Warn } from '../files/errors.js';
import { openWeights, readable, readJson } from '../files/weight_files.js';
import { isKohya, kohyaPairs, notApplied, type Pair, pairKeys } from './keys.js';
import { type LoraComponent, loraFiles, peftConfig, peftPrefix } from './layouts.js';
import { Lora, type LoraValues } from './lora.js';
import { metadataStrength, patterned, readStrength, scaleOf } from './strength.js';

/**
 * Puts the adapters of a file on the network's layers. `path` is a folder of PEFT, diffusers or kohya, or a file of one of
 * them, also with the older names of diffusers. Adapters for other components of the pipeline are passed over, and counted in a
 * warning. Where nothing says
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
  /** Told what of a file is not applied, such as the adapters of a text encoder. Default: a warning of the process. */
  readonly warn?: Warn | undefined;
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
  { component, warn = processWarning }: LoadLoraOptions,
): Promise<LoraFile> {
  const file = await openWeights(await locate(path));
  try {
    const isPeft = [...file.entries.keys()].some((key) => key.startsWith(peftPrefix));
    const config = join(dirname(file.path), peftConfig);
    const strength = isPeft ? readStrength(config, await readJson(config)) : metadataStrength(file, component);
    const prefix = isPeft ? peftPrefix : `${component}.`;
    const { pairs, problems, others } = isKohya(file)
      ? kohyaPairs(file, parameters.linears.keys())
      : pairKeys(file, prefix);
    const values = new Map<string, LoraValues>();
    const alphas = await readAlphas(file, pairs, problems);
    const rankOf = ({ down }: Pair): number => (down ? (file.entry(down).shape[0] ?? 1) : 1);
    const rank = strength.rank ?? Math.max(1, ...[...pairs.values()].map(rankOf));
    const [first] = alphas; // where modules have their own alphas they are mostly of one strength, which so stays exact
    const usual = first ? (rank * first[1]) / rankOf(pairs.get(first[0])!) : rank;
    const scale = scaleOf(strength, rank, strength.alpha ?? usual);
    for (const [name, pair] of pairs) {
      const found = await readModule(file, parameters, name, pair);
      if (Array.isArray(found)) {
        problems.push(...found);
        continue;
      }
      const exclusion = strength.exclusion(name);
      if (exclusion) problems.push(`${pair.down} is in the file, but ${exclusion} (${strength.source})`);
      const own = patterned(strength.rankPattern, name) ?? strength.rank ?? found.rank;
      if (own !== found.rank)
        problems.push(`${pair.down} has rank ${found.rank}, expected ${own} by ${strength.source}`);
      const alpha = alphas.get(name) ?? patterned(strength.alphaPattern, name) ?? strength.alpha ?? own;
      const factor = scaleOf(strength, own, alpha) / scale; // modules of another strength carry the difference
      values.set(name, factor === 1 ? found : { ...found, up: found.up.map((value) => value * factor) });
    }
    if (problems.length > 0) throw new ModelFileError(file.path, problems);
    for (const part of notApplied(others)) warn(`${file.path}: not applied: ${part}`);
    if (strength.unknown.length > 0)
      warn(`${strength.source}: keys that are unknown here, and not applied: ${strength.unknown.join(', ')}`);
    return { rank, alpha: scale * rank, values };
  } finally {
    await file.close();
  }
}

/** The alphas that a file has beside its modules, each a tensor of one number; what is none becomes a problem. */
async function readAlphas(
  file: SafetensorsFile,
  pairs: ReadonlyMap<string, Pair>,
  problems: string[],
): Promise<Map<string, number>> {
  const alphas = new Map<string, number>();
  for (const [name, { alpha: key }] of pairs) {
    if (key === undefined) continue;
    const { shape, dtype } = file.entry(key);
    const isOne = isWeightDType(dtype) && shape.every((n) => n === 1);
    const value = isOne ? Number((await readable(file.path, () => file.read(key)))[0]) : undefined;
    if (value !== undefined && value > 0 && Number.isFinite(value)) alphas.set(name, value);
    else problems.push(`${key} is ${value ?? `${formatShape(shape)} ${dtype}`}, expected one positive number`);
  }
  return alphas;
}

/** The file of weights that a path means: itself, or the one in a folder. */
async function locate(path: string): Promise<string> {
  const { isFolder } = await readable(path, async () => ({ isFolder: (await stat(path)).isDirectory() }));
  if (!isFolder) return path;
  const names = [loraFiles.peft, loraFiles.diffusers, loraFiles.kohya];
  for (const name of names) {
    if (await stat(join(path, name)).catch(() => undefined)) return join(path, name);
  }
  throw new ModelFileError(path, [`no LoRA weights: expected ${names.join(' or ')}`]);
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
