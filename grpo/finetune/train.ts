/** Training by a program: its model, its prompts, its rewards. */
import { join } from 'node:path';
import type { RunConfig } from '../config.js';
import type { Prompt } from '../model.js';
import { moduleReward, type RewardFunction } from '../rewards/module.js';
import type { WeightedReward } from '../rewards/reward.js';
import { type ConfigChanges, configOfProgram } from './config/program.js';
import { UsageError } from './errors.js';
import type { Model } from './model.js';
import { readPrompts, type Split } from './prompts.js';
import { loadReward } from './rewards/registry.js';
import type { RunEvent, Sink } from './run/events.js';
import { RunFolder } from './run/folder.js';
import { holdRun, reserveDated, reserveNamed } from './run/reserve.js';
import { type OpenSource, startRun } from './run/start.js';
import type { TrainingOptions } from './run/training.js';
import { joinSession, promptsOf } from './session.js';

/** Prompts: a file or `scenes`, or a list of texts or of prompts with what rewards are told besides. */
export type GivenPrompts = string | readonly (string | Prompt)[];

/** A reward: a function (images) => scores, or the keys of one that is built in, a module or a server. */
export type GivenReward = RewardFunction | (Partial<RunConfig['reward'][string]> & { readonly score?: RewardFunction });

export interface TrainOptions extends TrainingOptions {
  /** A model of which something learns: loadModel(..., { lora: {} }). */
  readonly model: Model;
  /** What is drawn; held-out prompts by themselves, or the same for both. */
  readonly prompts: GivenPrompts | Readonly<Record<Split, GivenPrompts>>;
  /** Rewards by name; the weighted sum is trained on. */
  readonly rewards: Readonly<Record<string, GivenReward>>;
  /** A preset or a file, for all that is not said here: sampler, grpo, train and the rest. Default: the keys' own defaults. */
  readonly preset?: string;
  /** Keys of the configuration on top of it, such as `{ grpo: { keep: [24, 16, 12] } }`. */
  readonly config?: ConfigChanges;
  /** Updates in all: `train.updates`. */
  readonly updates?: number;
  readonly seed?: number;
  /** The run's folder, which must not exist. Default: one below `runs`, by date. */
  readonly out?: string;
  /** Go on with the run in `out`, from its last checkpoint. Default false. */
  readonly resume?: boolean;
  /** Hear the events besides the run's own files. */
  readonly sinks?: readonly Sink[];
  /** Has the groups drawn and differentiated elsewhere: openRemoteRun() of winnow/workers. */
  readonly source?: OpenSource;
}

/**
 * Trains the model and tells of it, event by event; afterwards the model is what was learned. Leaving the loop early ends the
 * run in good order, with a checkpoint. Throws a UsageError for a configuration that makes no sense, a RewardError for a
 * reward that fails.
 */
export async function* train(options: TrainOptions): AsyncGenerator<RunEvent, void, undefined> {
  const { model, out, resume = false } = options;
  if (resume && out === undefined) throw new UsageError('train: resume needs the folder of the run in out');
  const { seed = model.learning.config.seed } = options;
  const held =
    out === undefined
      ? await reserveDated('runs', options.preset ?? 'train', seed)
      : await (resume ? holdRun(out) : reserveNamed(out));
  try {
    yield* trainIn(held.path, options);
  } finally {
    await held.release();
  }
}

/** Trains in a folder that this process holds. */
async function* trainIn(folder: string, options: TrainOptions): AsyncGenerator<RunEvent, void, undefined> {
  const { model, resume = false } = options;
  const { policy } = model.learning;
  const given = promptsBySplit(options.prompts);
  const config = await configOfProgram({
    ...options,
    model: model.learning.config,
    kind: policy.kind,
    prompts: { train: sourceOf(given.train, folder, 'train'), test: sourceOf(given.test, folder, 'test') },
    rewards: Object.fromEntries(Object.entries(options.rewards).map(([name, reward]) => [name, keysOf(reward)])),
  });
  const loaded: WeightedReward[] = [];
  try {
    for (const [name, reward] of Object.entries(options.rewards))
      loaded.push({ reward: await rewardOf(model, name, reward), weight: config.reward[name]!.weight });
    const [train, test] = [await promptsFrom(given.train, 'train'), await promptsFrom(given.test, 'test')];
    const prompts = await promptsOf(config, { train, test });
    const session = await joinSession(
      { config, device: model.device, model: policy, prompts, rewards: loaded },
      { signal: options.signal },
    );
    try {
      for (const message of session.warnings) yield { kind: 'warning', message };
      const run = resume ? await RunFolder.open(folder) : folder;
      yield* startRun(session, { ...options, run, files: filesOf(given, { train, test }) });
    } finally {
      session.close();
    }
  } finally {
    for (const { reward } of loaded) reward.dispose?.();
  }
}

const promptsBySplit = (given: TrainOptions['prompts']): Readonly<Record<Split, GivenPrompts>> =>
  typeof given === 'object' && 'train' in given ? given : { train: given, test: given };

/** What the configuration says of prompts: where they come from, or the file that the run's folder keeps of a list. */
const sourceOf = (given: GivenPrompts, folder: string, split: Split): string =>
  typeof given === 'string' ? given : join(folder, fileName(split));

const fileName = (split: Split): string => `prompts_${split}.jsonl`;

async function promptsFrom(given: GivenPrompts, split: Split): Promise<Prompt[]> {
  if (typeof given === 'string') return readPrompts(given, split);
  if (given.length === 0) throw new UsageError(`train: no ${split} prompts: expected a list of texts, or a file`);
  return given.map((prompt) => (typeof prompt === 'string' ? { prompt, meta: {} } : prompt));
}

/** Lists of prompts as files. */
function filesOf(
  given: Readonly<Record<Split, GivenPrompts>>,
  prompts: Readonly<Record<Split, readonly Prompt[]>>,
): Record<string, string> {
  const lists = (['train', 'test'] as const).filter((split) => typeof given[split] !== 'string');
  const lines = (split: Split): string =>
    prompts[split].map(({ prompt, meta }) => `${JSON.stringify({ ...meta, prompt })}\n`).join('');
  return Object.fromEntries(lists.map((split) => [fileName(split), lines(split)]));
}

function keysOf(reward: GivenReward): Partial<RunConfig['reward'][string]> {
  if (typeof reward === 'function') return {};
  const { score: _, ...keys } = reward;
  return keys;
}

function rewardOf({ device }: Model, name: string, given: GivenReward) {
  const { score, ...keys } = typeof given === 'function' ? { score: given } : given;
  const { timeout_s: timeout } = keys;
  if (score) return Promise.resolve(moduleReward(name, score, timeout === undefined ? {} : { timeout }));
  return loadReward(device, name, keys);
}
