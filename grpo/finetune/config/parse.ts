/** From a configuration's text to a checked configuration: strict YAML, every key checked, and errors that say where. */
import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { configSchema, type ParsedConfig, type RunConfig } from '../../config.js';
import { configEntries } from '../../config_entries.js';
import { withoutCredentials } from '../../rewards/credentials.js';
import { UsageError } from '../errors.js';
import { rewardNames } from '../rewards/registry.js';
import { type ConfigProblem, completeConfig, contradictions } from './check.js';
import { suggestion } from './suggestion.js';

/** A configuration's text, and what to call it in messages. */
export interface ConfigSource {
  readonly name: string;
  readonly text: string;
}

/** Checks a configuration's text and fills in every default. Throws a UsageError with one line for each problem. */
export function parseConfig({ name, text }: ConfigSource, sets: readonly string[] = []): RunConfig {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${name}:${line}:${col}`;
  };
  const broken = [...document.errors, ...document.warnings];
  if (broken.length > 0) fail(broken.map(({ pos, message }) => [at(pos[0]), '', withoutCredentials(message)]));
  const overrides = sets.map((set) => override(document, set));

  const reported = (problems: readonly ConfigProblem[]): ProblemLine[] => {
    const placed = problems.map((problem) => {
      const set = overrides.findLast(({ keys }) => startsWith(problem.path, keys) || startsWith(keys, problem.path));
      const offset = offsetOf(document, problem);
      // Keys that only --set has are not in the text; what the text has is listed first, in its order.
      return set
        ? { order: Number.MAX_VALUE, where: `--set ${shownSet(set.text)}`, problem }
        : { order: offset, where: at(offset), problem };
    });
    return placed
      .sort((a, b) => a.order - b.order)
      .map(({ where, problem: { path, message } }) => [where, path.join('.'), message]);
  };
  return checkedConfig(contentOf(document, name), [], (problems) => fail(reported(problems)));
}

/**
 * Checks the keys of a configuration and fills in every default. `rewards` are names that are known besides those that are
 * built in. Throws a UsageError with one line for each problem, which begins with `name`.
 */
export const checkConfig = (keys: unknown, name: string, rewards: readonly string[] = []): RunConfig =>
  checkedConfig(keys, rewards, (problems) =>
    fail(problems.map(({ path, message }) => [name, path.join('.'), message])),
  );

function checkedConfig(
  keys: unknown,
  rewards: readonly string[],
  refuse: (problems: readonly ConfigProblem[]) => never,
): RunConfig {
  const parsed = configSchema.safeParse(keys, { reportInput: true });
  if (!parsed.success) return refuse(parsed.error.issues.flatMap(problemsOf));
  const problems = [...contradictions(parsed.data), ...unknownRewards(parsed.data, rewards)];
  return problems.length > 0 ? refuse(problems) : completeConfig(parsed.data);
}

function contentOf(document: Document, name: string): unknown {
  try {
    return document.toJS() ?? {};
  } catch (error) {
    throw new UsageError(`${name}: ${(error as Error).message}`, { cause: error }); // aliases of aliases without end
  }
}

const startsWith = (path: readonly string[], prefix: readonly string[]): boolean =>
  path.length >= prefix.length && prefix.every((key, i) => path[i] === key);

/** Where, which key, what is wrong. */
type ProblemLine = readonly [where: string, key: string, what: string];

function fail(problems: readonly ProblemLine[]): never {
  const width = (column: 0 | 1): number => Math.max(...problems.map((problem) => problem[column].length));
  const [first, second] = [width(0), width(1)];
  const lines = problems.map(([where, key, what]) =>
    [where.padEnd(first), ...(second > 0 ? [key.padEnd(second)] : []), what].join('  '),
  );
  throw new UsageError(
    `the configuration has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}\n  ${lines.join('\n  ')}`,
  );
}

/** Sets a key of the document from `path.of.key=value`. */
function override(document: Document, text: string): { text: string; keys: readonly string[] } {
  const equals = text.indexOf('=');
  const keys = text.slice(0, Math.max(equals, 0)).split('.');
  if (equals < 1 || keys.some((key) => key === ''))
    throw new UsageError(`--set ${shownSet(text)}: expected key=value, such as grpo.clip=1e-5`);
  const value = parseDocument(text.slice(equals + 1), { prettyErrors: false });
  const [error] = [...value.errors, ...value.warnings];
  if (error) throw new UsageError(`--set ${shownSet(text)}: ${withoutCredentials(error.message)}`);
  for (let depth = 0; depth < keys.length; depth++) {
    const parent = depth === 0 ? document.contents : document.getIn(keys.slice(0, depth), true);
    if (parent === undefined || isMap(parent)) continue;
    // A key below one that holds null or a value takes its place: `lora.rank` below `lora: null`.
    if (depth === 0) document.contents = document.createNode({}) as never;
    else document.setIn(keys.slice(0, depth), document.createNode({}));
  }
  document.setIn(keys, value.contents);
  return { text, keys };
}

/** Where a problem stands in the text: at the key or its value; where the key is missing, at the nearest above it. */
function offsetOf(document: Document, { path, unknown }: ConfigProblem): number {
  let node: unknown = document.contents;
  let offset = startOf(node) ?? 0;
  for (const key of path) {
    const pair = isMap(node)
      ? node.items.find((item) => isScalar(item.key) && String(item.key.value) === key)
      : undefined;
    node = pair ? pair.value : isSeq(node) ? node.items[Number(key)] : undefined;
    offset = (unknown ? startOf(pair?.key) : startOf(node)) ?? offset;
    if (!node) break;
  }
  return offset;
}

const startOf = (node: unknown): number | undefined => (isNode(node) ? node.range?.[0] : undefined);

/** What problemsOf() needs of zod's issues. */
interface Issue {
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly input?: unknown;
  readonly keys?: readonly string[];
}

/** A schema's issue as problems: one for each unknown key. */
function problemsOf({ code, path: keys, message, input, ...issue }: Issue): ConfigProblem[] {
  const path = keys.map(String);
  if (code === 'unrecognized_keys')
    return issue.keys!.map((key) => ({
      path: [...path, key],
      message: `unknown key${suggestedKey(path, key)}`,
      unknown: true,
    }));
  if (input === undefined) return [{ path, message: `missing; expected ${message}` }];
  return [
    {
      path,
      message: `expected ${message}, found ${found(path, input)}`,
    },
  ];
}

/** An override as a message has it: without its value where that has headers, which may be credentials of any form. */
const shownSet = (text: string): string =>
  /headers/i.test(text) ? `${text.slice(0, Math.max(text.indexOf('='), 0))}=...` : withoutCredentials(text);

/** What stands in place of what was expected; of a header only its kind, as it may be a credential of any form. */
function found(path: readonly string[], input: unknown): string {
  if (path[0] === 'reward' && path[2] === 'headers') return input === null ? 'null' : `a value of type ${typeof input}`;
  return withoutCredentials(typeof input === 'number' ? String(input) : JSON.stringify(input)).slice(0, 60);
}

/** Rewards by a name that is neither built in nor comes with a module or a server; all that is reported must be known too. */
function unknownRewards({ reward, eval: { rewards } }: ParsedConfig, own: readonly string[]): ConfigProblem[] {
  const known = [...rewardNames, ...Object.keys(reward)];
  const message = (name: string, names: readonly string[]): string =>
    `no reward is called ${name}${suggestion(name, names)}; built in: ${rewardNames.join(', ')}`;
  return [
    ...Object.entries(reward)
      .filter(([name, { module, http }]) => !module && !http && !rewardNames.includes(name) && !own.includes(name))
      .map(([name]) => ({ path: ['reward', name], message: message(name, rewardNames), unknown: true })),
    ...rewards.flatMap((name, i) =>
      known.includes(name) ? [] : [{ path: ['eval', 'rewards', String(i)], message: message(name, known) }],
    ),
  ];
}

/** The key that was meant: one like it beside it, or the same one elsewhere. */
function suggestedKey(path: readonly string[], key: string): string {
  const keys = configEntries.map((entry) => entry.path);
  const beside = keys
    .filter(
      (other) => other.length === path.length + 1 && path.every((part, i) => other[i] === '*' || other[i] === part),
    )
    .map((other) => other.at(-1)!);
  const near = suggestion(key, beside);
  if (near) return near;
  const elsewhere = keys.find((other) => other.at(-1) === key && !other.includes('*'));
  return elsewhere ? ` (did you mean "${elsewhere.join('.')}"?)` : '';
}
