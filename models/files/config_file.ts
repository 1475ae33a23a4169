/** config.json as a network can take it: of the right class, with the keys it needs, each of its type and within its bounds. */
import { join } from 'node:path';
import { type ConfigKeys, type ConfigTable, checkConfig, type ResolvedKeys } from './config.js';
import { ModelFileError } from './errors.js';
import { readJson, shown } from './weight_files.js';

/**
 * Reads config.json of a component's folder and gives it back with the defaults of absent keys. Keys that the table lacks stay
 * unchecked. Throws a ModelFileError that names the file and lists a wrong class, missing keys, and values of a wrong type or
 * out of bounds.
 */
export async function readConfig<K extends ConfigKeys>(
  folder: string,
  table: ConfigTable<K>,
): Promise<ResolvedKeys<K>> {
  const path = join(folder, 'config.json');
  const config = await readJson(path);
  const key = config._class_name === undefined ? 'architectures' : '_class_name';
  const found = key === '_class_name' ? config._class_name : asList(config.architectures)[0];
  // A config without its class is one that was saved without its weights; the folder says what it is.
  const known = found === undefined || table.classes.includes(String(found).replace(/^Flax/, ''));
  const problems = known ? [] : [`${key} is ${shown(found)}, expected ${table.classes.join(' or ')}`];
  return takeConfig(path, config, table, problems);
}

/** The config with its defaults. Throws a ModelFileError of `path` where there are problems already or the table finds some. */
export function takeConfig<K extends ConfigKeys>(
  path: string,
  config: object,
  table: ConfigTable<K>,
  before: readonly string[] = [],
): ResolvedKeys<K> {
  const { resolved, problems } = checkConfig(table, config, { complete: true });
  const lines = problems.map(
    ({ key, found, expected, expectedType = expected }) => `${key} is ${shown(found)}, expected ${expectedType}`,
  );
  if (before.length + lines.length > 0) throw new ModelFileError(path, [...before, ...lines]);
  return resolved;
}

const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
