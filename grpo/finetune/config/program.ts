/** The configuration of a run that a program starts: a preset's keys, the program's on top. */
import { parseDocument } from 'yaml';
import type { RunConfig } from '../../config.js';
import type { GenerativeModel } from '../../model.js';
import type { ModelConfig } from '../policy.js';
import { readConfigSource } from './file.js';
import { checkConfig } from './parse.js';

/** Some keys of some sections. */
export type ConfigChanges = {
  readonly [S in keyof RunConfig]?: RunConfig[S] extends object ? Partial<RunConfig[S]> : RunConfig[S];
};

export interface ProgramConfig {
  /** The sections that the model was loaded by. */
  readonly model: ModelConfig;
  readonly kind: GenerativeModel['kind'];
  readonly prompts: RunConfig['prompts'];
  /** Keys of the rewards; a function's reward may have none. */
  readonly rewards: Readonly<Record<string, Partial<RunConfig['reward'][string]>>>;
  readonly preset?: string;
  readonly config?: ConfigChanges;
  readonly updates?: number;
  readonly seed?: number;
}

/**
 * The whole configuration. Model, adapter, prompts and rewards, also those that are only reported, are the program's, whatever
 * the preset says of them; the kind of steps is the usual one of the model unless it is given. Throws a UsageError with a line for each problem.
 */
export async function configOfProgram(given: ProgramConfig): Promise<RunConfig> {
  const { model, kind, prompts, rewards, preset, config = {}, updates, seed } = given;
  const base = preset === undefined ? {} : (parseDocument((await readConfigSource(preset)).text).toJS() as object);
  const usual = { sampler: { kind: kind === 'flow' ? 'flow-sde' : 'ddim' } };
  const merged = merge(merge(merge(usual, base), { eval: { rewards: [] } }), config);
  return checkConfig(
    {
      ...merge(merged, {
        sampler: model.sampler ?? {},
        train: { ...model.train, ...(updates !== undefined && { updates }) },
        seed: seed ?? config.seed ?? model.seed,
      }),
      model: model.model,
      lora: model.lora,
      prompts,
      reward: rewards,
    },
    'train()',
    Object.keys(rewards),
  );
}

type Keys = Readonly<Record<string, unknown>>;

const isKeys = (value: unknown): value is Keys => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The keys of both, section by section; those of `above` win. */
function merge(below: object, above: object): Record<string, unknown> {
  const under = below as Keys;
  const entries = Object.entries(above).map(([key, value]): [string, unknown] => {
    const before = under[key];
    return [key, isKeys(before) && isKeys(value) ? merge(before, value) : value];
  });
  return { ...under, ...Object.fromEntries(entries) };
}
