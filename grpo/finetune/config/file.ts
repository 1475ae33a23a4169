/** Where a configuration comes from: a preset's name, a file, or the folder of a run; texts `grpo.clip=1e-5` change keys on top. */
import { readdirSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
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
  const found = await stat(given).catch(() => undefined);
  const path = found?.isDirectory() ? join(given, 'config.yaml') : given;
  if (found) {
    try {
      return { name: path, text: new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path)) };
    } catch (error) {
      const what = error instanceof TypeError ? 'not UTF-8' : (error as Error).message;
      throw new UsageError(`${path}: ${what}; expected a configuration in YAML`, { cause: error });
    }
  }
  if (/[/\\]|\.(ya?ml|json)$/.test(given)) throw new UsageError(`no file ${given}`);
  return readPreset(given);
}

/** Reads and checks a configuration. `sets` are texts such as `grpo.keep=[24,16,12]`, whose values are YAML. */
export async function loadConfig(given?: string, sets: readonly string[] = []): Promise<RunConfig> {
  return parseConfig(await readConfigSource(given), sets);
}
