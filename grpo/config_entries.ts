/** The configuration's keys as a list: what files with comments, tables, suggestions and checkpoints of old go by. */
import type { z } from 'zod';
import { configSchema } from './config.js';

/** One key, or the section that it stands in. */
export interface ConfigEntry {
  /** The names of its sections and its own; `*` is the name of a reward. */
  readonly path: readonly string[];
  /** What it means, in sentences, with its unit or formula. */
  readonly doc: string;
  /** Undefined where the key must be given, or where its default depends on other keys. */
  readonly default: unknown;
  /** Whether other keys stand below it. */
  readonly isSection: boolean;
  /** Whether a configuration without it is refused. */
  readonly required: boolean;
}

/** What is looked at of a schema of zod's. */
interface Schema {
  readonly description?: string;
  readonly def: { readonly type: string; readonly defaultValue?: unknown; readonly innerType?: Schema };
  readonly shape?: Readonly<Record<string, Schema>>;
  readonly valueType?: Schema;
}

function* entriesOf(schema: Schema, path: readonly string[] = []): Generator<ConfigEntry> {
  let inner = schema;
  let [doc, usual, required] = [schema.description ?? '', undefined as unknown, true];
  for (; inner.def.innerType; inner = inner.def.innerType) {
    if (inner.def.type === 'default') usual = inner.def.defaultValue;
    if (/^(default|prefault|optional|nullish)$/.test(inner.def.type)) required = false;
    doc ||= inner.def.innerType.description ?? '';
  }
  // Of a record the names are a user's own: what stands below each has keys, or the record is one value.
  const below = inner.shape ?? (inner.valueType?.def.type === 'object' ? { '*': inner.valueType } : undefined);
  if (path.length > 0) yield { path, doc, default: usual, isSection: below !== undefined, required };
  for (const [name, child] of Object.entries(below ?? {})) yield* entriesOf(child, [...path, name]);
}

/** Every section and key, in the order of a file. */
export const configEntries: readonly ConfigEntry[] = [
  ...entriesOf(configSchema satisfies z.ZodType as unknown as Schema),
];

/** The default of a key by its whole path, such as `train.lr`; undefined where it has none of its own. */
export const defaultOf = (key: string): unknown => configEntries.find(({ path }) => path.join('.') === key)?.default;
