/**
 * The configuration of a run at a worker. The trainer hands on what is computed; what is opened (model folders, modules, servers
 * and their credentials) comes from the worker's own configuration, and only embedded models and built-in rewards need none.
 */
import { embeddedModels } from '../../models/embedded/index.js';
import type { RewardConfig, RunConfig } from '../config.js';
import { checkConfig } from '../finetune/config/parse.js';
import { UsageError } from '../finetune/errors.js';

/** The keys of a reward that say what is opened. */
const opened = ['module', 'http', 'headers', 'path'] as const;

const isEmbedded = (path: string): boolean => embeddedModels.some((name) => name === path);

/** What a reward is, for a worker to look up in its own configuration. */
const kindOf = ({ module, http, path }: Partial<RewardConfig>): string =>
  module !== undefined ? 'a module' : http !== undefined ? 'a server' : path !== undefined ? 'a folder' : 'built in';

/** What a trainer tells of its configuration: numbers and names, no path, no address, no prompts and no credential. */
export function sharedConfig(config: RunConfig): Record<string, unknown> {
  const { model, lora, reward, sampler, grpo, rollout, train, workers, eval: evaluation, seed } = config;
  const rewards = Object.entries(reward).map(([name, keys]) => {
    const plain = Object.fromEntries(
      Object.entries(keys).filter(([key]) => !(opened as readonly string[]).includes(key)),
    );
    return [name, { ...plain, kind: kindOf(keys) }];
  });
  const path = isEmbedded(model.path) ? model.path : null;
  const sections = { lora, sampler, grpo, rollout, train, workers, eval: { rewards: evaluation.rewards }, seed };
  return { ...sections, model: { ...model, path }, reward: Object.fromEntries(rewards) };
}

/**
 * The whole configuration, with what is opened from the worker's `own`. Throws a UsageError where that lacks something, or where
 * the keys make no sense.
 */
export function configOfWorker(shared: Readonly<Record<string, unknown>>, own: RunConfig | undefined): RunConfig {
  const { model, reward, ...keys } = shared as {
    readonly model: Readonly<Record<string, unknown>>;
    readonly reward: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  };
  const start = 'start the worker with it: winnow worker my.yaml --redis ...';
  const path = typeof model?.path === 'string' && isEmbedded(model.path) ? model.path : own?.model.path;
  if (path === undefined)
    throw new UsageError(`the run's model is a folder: a configuration has to say where it is; ${start}`);
  const rewards = Object.entries(reward ?? {}).map(([name, { kind, ...plain }]) => {
    if (kind === 'built in') return [name, plain];
    const mine = own?.reward[name];
    const found = mine ? kindOf(mine) : 'missing';
    if (found !== kind)
      throw new UsageError(
        `the run's reward ${name} is ${kind}, in the worker's configuration it is ${found}; ${start}`,
      );
    return [name, { ...plain, ...Object.fromEntries(opened.map((key) => [key, mine![key]])) }];
  });
  const whole = {
    ...keys,
    model: { ...model, path },
    reward: Object.fromEntries(rewards),
    prompts: { train: 'scenes', test: 'scenes' }, // each task has its own
  };
  return checkConfig(JSON.parse(JSON.stringify(whole)), 'the run');
}
