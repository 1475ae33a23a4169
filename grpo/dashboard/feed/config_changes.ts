/** A run's configuration as the difference to the preset that it is nearest to. */
import { parse } from 'yaml';
import { loadConfig, presetNames } from '../../finetune/config/file.js';
import { readInside } from '../../serve/inside.js';

/** A key whose value is not the preset's; undefined where one of the two has no such key. */
export interface ConfigChange {
  readonly key: string;
  readonly preset: string | undefined;
  readonly run: string | undefined;
}

export interface ConfigChanges {
  /** The preset with the fewest differences. */
  readonly preset: string;
  readonly changes: readonly ConfigChange[];
}

/** Keys as `grpo.keep`, values as JSON. */
function flat(value: unknown, path = ''): [string, string][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [[path, JSON.stringify(value) ?? '']];
  return Object.entries(value).flatMap(([key, inner]) => flat(inner, path === '' ? key : `${path}.${key}`));
}

let presets: Promise<readonly (readonly [string, ReadonlyMap<string, string>])[]> | undefined;

/** Every preset with all its defaults, read once; one that this machine's files do not complete is left out. */
function allPresets() {
  presets ??= Promise.all(
    presetNames().map((name) =>
      loadConfig(name).then(
        (config) => [[name, new Map(flat(config))] as const],
        () => [],
      ),
    ),
  ).then((lists) => lists.flat());
  return presets;
}

/** The differences of a run's config.yaml to the nearest preset; undefined where it can't be read. */
export async function configChanges(folder: string): Promise<ConfigChanges | undefined> {
  const text = await readInside(folder, 'config.yaml');
  if (text === undefined) return undefined;
  let own: Map<string, string>;
  try {
    own = new Map(flat(parse(text)));
  } catch {
    return undefined;
  }
  const compared = (await allPresets()).map(([preset, keys]) => ({ preset, changes: differences(keys, own) }));
  return compared.sort((a, b) => a.changes.length - b.changes.length)[0];
}

function differences(preset: ReadonlyMap<string, string>, run: ReadonlyMap<string, string>): ConfigChange[] {
  const keys = new Set([...preset.keys(), ...run.keys()]);
  return [...keys]
    .filter((key) => preset.get(key) !== run.get(key))
    .map((key) => ({ key, preset: preset.get(key), run: run.get(key) }));
}
