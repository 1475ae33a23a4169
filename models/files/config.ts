/**
 * Tables of what a network's config.json may hold. A table stands beside its network and says of each key, once, its type, what
 * an absent one stands for and its bounds; the types of configs and every refusal of one come from it.
 */
import { CheckError } from '../../engine/errors.js';

/** One key of a config.json. Functions such as count() make it. */
export interface ConfigKey<T> {
  /** The type of the value, as messages name it. */
  readonly type: string;
  readonly isType: (value: unknown) => boolean;
  /** What an absent key and null stand for: the default of diffusers or transformers. */
  readonly default: T;
  /** Whether every folder has the key. Constructors take the default for it all the same. */
  readonly required: boolean;
  /** What a value must be besides, as messages say it. */
  readonly expected?: string;
  isWithin?(value: T): boolean;
  /** What no number of the value may exceed, so that what a config asks for can be declared and counted. */
  readonly most?: number;
}

export type ConfigKeys = Readonly<Record<string, ConfigKey<unknown>>>;

/** A value that can't be taken. */
export interface ConfigProblem {
  /** A key within an object follows a dot: `text_config.hidden_size`. */
  readonly key: string;
  /** Undefined where the key is missing. */
  readonly found: unknown;
  readonly expected: string;
  /** What the type is called, where the value is not even of it. */
  readonly expectedType?: string;
}

/** What a network asks of its config. */
export interface ConfigTable<K extends ConfigKeys> {
  /** The network, as messages name it. */
  readonly network: string;
  /** Names of its class in `_class_name` (diffusers) or `architectures` (transformers). */
  readonly classes: readonly string[];
  readonly keys: K;
  /** What is wrong between keys each of which is right by itself. */
  across?(config: ResolvedKeys<K>): Iterable<ConfigProblem>;
}

/** The values of a table's keys, each there. */
export type ResolvedKeys<K> = { readonly [P in keyof K]: K[P] extends ConfigKey<infer T> ? T : never };
type GivenKeys<K> = { readonly [P in keyof K]?: (K[P] extends ConfigKey<infer T> ? T : never) | null };

/** A config as a caller writes it: absent keys and null stand for the defaults. */
export type ConfigOf<T> = T extends ConfigTable<infer K> ? GivenKeys<K> : never;

/** A config with every key, checked. */
export type ResolvedConfig<T> = T extends ConfigTable<infer K> ? ResolvedKeys<K> : never;

/** Declares a table. The function is there for the compiler, which gives `across` the types of the keys. */
export const configTable = <K extends ConfigKeys>(table: ConfigTable<K>): ConfigTable<K> => table;

export interface ConfigCheck {
  /** Whether keys that every folder has must be there. */
  readonly complete: boolean;
}

/**
 * The config with its defaults, and what is wrong with it in the order of the table; what lies between keys is looked at only
 * where each is right by itself. With problems the config can't be used.
 */
export function checkConfig<K extends ConfigKeys>(
  table: ConfigTable<K>,
  config: object,
  { complete }: ConfigCheck = { complete: false },
): { readonly resolved: ResolvedKeys<K>; readonly problems: readonly ConfigProblem[] } {
  const given: Readonly<Record<string, unknown>> = { ...config };
  const values: Record<string, unknown> = {};
  const problems: ConfigProblem[] = [];
  for (const [name, key] of Object.entries(table.keys)) {
    const found = given[name] ?? undefined;
    const { type, expected = type } = key;
    const value = found ?? key.default;
    values[name] = value;
    if (found === undefined && complete && key.required)
      problems.push({ key: name, found, expected, expectedType: type });
    else if (value === null)
      continue; // the default of a key that may have no value
    else if (!key.isType(value)) problems.push({ key: name, found: value, expected, expectedType: type });
    else if (key.isWithin?.(value) === false) problems.push({ key: name, found: value, expected });
    else problems.push(...excess(name, key, value));
  }
  const resolved = values as ResolvedKeys<K>; // each of its type, or there are problems
  if (problems.length === 0) problems.push(...(table.across?.(resolved) ?? []));
  return { resolved, problems };
}

/** What is too large about a value of the right type. */
function excess(name: string, { most }: ConfigKey<unknown>, value: unknown): ConfigProblem[] {
  if (Array.isArray(value) && value.length > limits.layers)
    return [{ key: name, found: `${value.length} entries`, expected: `at most ${limits.layers}` }];
  const tooLarge = [value]
    .flat()
    .some((each) => typeof each === 'number' && most !== undefined && Math.abs(each) > most);
  return tooLarge ? [{ key: name, found: value, expected: `at most ${most}` }] : [];
}

/** What is wrong with the object that a key holds. */
export const problemsWithin = <K extends ConfigKeys>(
  key: string,
  table: ConfigTable<K>,
  config: object | null,
): ConfigProblem[] =>
  checkConfig(table, config ?? {}).problems.map((problem) => ({ ...problem, key: `${key}.${problem.key}` }));

/** The config with its defaults. Throws a CheckError with the first key that is wrong, what was found and what was expected. */
export function resolveConfig<K extends ConfigKeys>(table: ConfigTable<K>, config: GivenKeys<K>): ResolvedKeys<K> {
  const { resolved, problems } = checkConfig(table, config);
  const [first] = problems;
  if (!first) return resolved;
  const { key, found, expected } = first;
  throw new CheckError(`${table.network}: config ${key}: found ${JSON.stringify(found)}, expected ${expected}`);
}

/** A whole number of 1 or more. */
export const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 1;

const isListOf = (is: (value: unknown) => boolean) => (value: unknown) => Array.isArray(value) && value.every(is);
const isString = (value: unknown): boolean => typeof value === 'string';

interface KeyOptions {
  readonly required?: boolean;
  /** Default: a million or so, above every width, length and number of tokens there is. */
  readonly most?: number;
}

const mostOfAll = 2 ** 20;

/** What no network exceeds: layers of a kind one after the other, levels of resolution, and the edge of latents or pictures. */
export const limits = { layers: 1000, levels: 16, edge: 16_384 } as const;

/** With null as the default, a key may also have no value. */
type OrNull<T, D> = D extends null ? T | null : T;

/** A positive integer. */
export const count = <D extends number | null>(
  usual: D,
  { required = false, most = mostOfAll }: KeyOptions = {},
): ConfigKey<OrNull<number, D>> => ({
  type: 'an integer',
  isType: Number.isInteger,
  default: usual as OrNull<number, D>, // of it by D's bound
  required,
  expected: 'a positive integer',
  isWithin: isCount,
  most,
});

/** The id of a token: 0 or more. */
export const tokenId = (usual: number): ConfigKey<number> => ({
  type: 'an integer',
  isType: Number.isInteger,
  default: usual,
  required: false,
  expected: 'an integer of 0 or more',
  isWithin: (value) => value >= 0,
  most: mostOfAll,
});

/** A list of positive integers, not empty. */
export const counts = (
  usual: readonly number[],
  { required = false }: KeyOptions = {},
): ConfigKey<readonly number[]> => ({
  type: 'a list of integers',
  isType: isListOf(Number.isInteger),
  default: usual,
  required,
  expected: 'a list of positive integers',
  isWithin: (values) => values.length > 0 && values.every(isCount),
  most: mostOfAll,
});

/** A list of numbers from 0 on, empty unless the config has it. */
export const indices = (): ConfigKey<readonly number[]> => ({
  type: 'a list of integers',
  isType: isListOf(Number.isInteger),
  default: [],
  required: false,
  expected: 'a list of integers of 0 or more',
  isWithin: (values) => values.every((value) => value >= 0),
  most: limits.layers,
});

/** One positive integer for all, or a list with one for each. */
export const countOrCounts = (
  usual: number,
  { most = mostOfAll }: Pick<KeyOptions, 'most'> = {},
): ConfigKey<number | readonly number[]> => ({
  type: 'an integer or a list of integers',
  isType: (value) => Number.isInteger(value) || isListOf(Number.isInteger)(value),
  default: usual,
  required: false,
  expected: 'a positive integer or a list of them',
  isWithin: (value) => [value].flat().length > 0 && [value].flat().every(isCount),
  most,
});

/** A finite number. `isWithin` bounds it, as `expected` says. */
export const number = (
  usual: number,
  {
    expected = 'a finite number',
    isWithin = () => true,
  }: Pick<Partial<ConfigKey<number>>, 'expected' | 'isWithin'> = {},
): ConfigKey<number> => ({
  type: 'a number',
  isType: (value) => typeof value === 'number',
  default: usual,
  required: false,
  expected,
  isWithin: (value) => Number.isFinite(value) && isWithin(value),
  most: mostOfAll,
});

/** What keeps a norm from dividing by zero. */
export const epsilon = (usual: number): ConfigKey<number> =>
  number(usual, { expected: 'a positive number', isWithin: (value) => value > 0 });

export const flag = (usual: boolean): ConfigKey<boolean> => ({
  type: 'a boolean',
  isType: (value) => typeof value === 'boolean',
  default: usual,
  required: false,
});

/** One of some words; null where that is the default. */
export const word = <const W extends string, D extends W | null>(
  words: readonly W[],
  usual: D,
): ConfigKey<OrNull<W, D>> => ({
  type: 'a string',
  isType: isString,
  default: usual as OrNull<W, D>, // of it by D's bound
  required: false,
  expected:
    usual === null ? `${words.map((each) => JSON.stringify(each)).join(', ')} or null` : `one of ${words.join(', ')}`,
  isWithin: (value) => (words as readonly unknown[]).includes(value),
});

/** A list of words; null, unless the config has it. */
export const words = (): ConfigKey<readonly string[] | null> => ({
  type: 'a list of strings',
  isType: isListOf(isString),
  default: null,
  required: false,
});

/** An object whose keys another table checks. */
export const object = <K extends ConfigKeys>(_: ConfigTable<K>): ConfigKey<GivenKeys<K> | null> => ({
  type: 'an object',
  isType: (value) => typeof value === 'object' && !Array.isArray(value),
  default: null,
  required: false,
});

/** A key of which one value is implemented; an absent one stands for it too, unless `usual` is given. */
export const only = <const V>(value: V, usual: unknown = value): ConfigKey<V> => ({
  type: JSON.stringify(value),
  isType: () => true,
  default: usual as V, // refused where it is another
  required: false,
  expected: JSON.stringify(value),
  isWithin: (found) => found === value,
});
