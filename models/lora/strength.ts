/** How strong the adapters of a file are: alpha and rank, where PEFT and diffusers write them. */
import { basename } from 'node:path';
import type { SafetensorsFile } from '../../engine/safetensors.js';
import { ModelFileError } from '../files/errors.js';
import { shown } from '../files/weight_files.js';
import type { LoraComponent } from './layouts.js';
import { checkPeftKeys, exclusionOf } from './peft_keys.js';

/** How strong each module is: what adapter_config.json says, or a diffusers file's metadata, or neither. */
export interface Strength {
  /** The file that says so, for messages. */
  readonly source: string;
  readonly rank: number | undefined;
  readonly alpha: number | undefined;
  /** Whether the scale is alpha / sqrt(rank) instead of alpha / rank. */
  readonly rootRank: boolean;
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Why the config leaves a layer as it is; undefined where it adapts it. */
  exclusion(name: string): string | undefined;
  /** Keys of the config that are unknown here. */
  readonly unknown: readonly string[];
}

/** The factor of what adapters of a rank add: alpha / rank, or alpha over its square root. */
export const scaleOf = ({ rootRank }: Strength, rank: number, alpha: number): number =>
  alpha / (rootRank ? Math.sqrt(rank) : rank);

/** Reads the keys of a LoraConfig, each behind `prefix`. PEFT's default for alpha is no one's: a config has to say it. */
export function readStrength(path: string, config: Readonly<Record<string, unknown>>, prefix = ''): Strength {
  const { problems, unknown } = checkPeftKeys(config, prefix);
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
  const isNames = (value: unknown): value is string | string[] =>
    typeof value === 'string'
      ? isRegExp(value)
      : Array.isArray(value) && value.every((each) => typeof each === 'string');
  const isIndices = (value: unknown): value is number | number[] => [value].flat().every(Number.isInteger);
  const strength = {
    source: basename(path),
    rank: expect('r', (value): value is number => isPositive(value) && Number.isInteger(value), 'a positive integer'),
    alpha: expect('lora_alpha', isPositive, 'a positive number'),
    rootRank: expect('use_rslora', (value): value is boolean => typeof value === 'boolean', 'true or false') ?? false,
    rankPattern: expect('rank_pattern', isPattern, 'an object of ranks by pattern') ?? {},
    alphaPattern: expect('alpha_pattern', isPattern, 'an object of alphas by pattern') ?? {},
    exclusion: (name: string) => exclusionOf(config, name, prefix),
    unknown,
  };
  expect('peft_type', (value): value is 'LORA' => value === 'LORA', '"LORA"');
  for (const key of ['target_modules', 'exclude_modules', 'layers_pattern'])
    expect(key, isNames, 'a regular expression, or a list of names');
  expect('layers_to_transform', isIndices, 'a number of a block, or a list of them');
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
export function metadataStrength(file: SafetensorsFile, component: LoraComponent): Strength {
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
  const nothing = {
    rank: undefined,
    alpha: undefined,
    rootRank: false,
    rankPattern: {},
    alphaPattern: {},
    unknown: [],
  };
  return { source: basename(file.path), ...nothing, exclusion: () => undefined };
}

/** The value of the first pattern that matches the end of the name, as PEFT does. */
export function patterned(patterns: Readonly<Record<string, number>>, name: string): number | undefined {
  const key = Object.keys(patterns).find(
    (pattern) => name === pattern || new RegExp(`^(?:.*\\.)?(?:${pattern})$`).test(name),
  );
  return key === undefined ? undefined : patterns[key];
}
