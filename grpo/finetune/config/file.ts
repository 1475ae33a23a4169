/** Where a configuration comes from: a preset's name, a file, or the folder of a run; texts `grpo.clip=1e-5` change keys on top. */
import { readdirSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isWritten, kindOf, remedyOf } from '../../../engine/file_kinds.js';
import { exists, reasonOf } from '../../../engine/files.js';
import { packageRoot } from '../../../engine/version.js';
import type { RunConfig } from '../../config.js';
import { UsageError } from '../errors.js';
import { type ConfigSource, parseConfig } from './parse.js';
import { suggestion } from './suggestion.js';

/** The preset of a run without a configuration. */
export const usualPreset = 'scenes-flow';

const presetFolder = (): string => join(packageRoot(), 'grpo', 'finetune', 'presets');

/** Names of the presets. */
export const presetNames = (): string[] =>
  readdirSync(presetFolder())
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => name.slice(0, -'.yaml'.length))
    .sort();

/** A preset's commented file. Throws a UsageError for a name that is none. */
export async function readPreset(name: string): Promise<ConfigSource> {
  const names = presetNames();
  if (!names.includes(name))
    throw new UsageError(`no preset ${name}${suggestion(name, names)}; there are ${names.join(', ')}`);
  const path = join(presetFolder(), `${name}.yaml`);
  return { name: `${name}.yaml`, text: await readFile(path, 'utf8') };
}

/** Reads a file, the config.yaml of a run's folder, or a preset by its name: the first that exists. */
export async function readConfigSource(given: string = usualPreset): Promise<ConfigSource> {
  const found = await stat(given).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined; // then it may be a preset
    throw new UsageError(`${given}: ${reasonOf(error) ?? error.message}; expected a configuration`, { cause: error });
  });
  const path = found?.isDirectory() ? join(given, 'config.yaml') : given;
  if (found) {
    try {
      return { name: path, text: textOf(await readFile(path)) };
    } catch (error) {
      const what = found.isDirectory() && (await exists(join(given, 'model_index.json'))) ? modelsPlace : undefined;
      const reason = what ?? reasonOf(error) ?? (error as Error).message;
      throw new UsageError(`${path}: ${reason}; expected a configuration in YAML`, { cause: error });
    }
  }
  if (/[/\\]|\.(ya?ml|json)$/.test(given)) throw new UsageError(`no file ${given}`);
  return readPreset(given);
}

const modelsPlace = "no such file, as the folder is a model's, which a configuration names by model.path";

function textOf(bytes: Uint8Array): string {
  const kind = kindOf(bytes);
  if (kind && !isWritten(kind)) throw new Error(`${kind}${remedyOf(kind)}`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw new Error('not UTF-8', { cause: error });
  }
}

/** Reads and checks a configuration. `sets` are texts such as `grpo.keep=[24,16,12]`, whose values are YAML. */
export async function loadConfig(given?: string, sets: readonly string[] = []): Promise<RunConfig> {
  return parseConfig(await readConfigSource(given), sets);
}
