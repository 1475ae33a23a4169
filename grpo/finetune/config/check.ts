/** What keys of a configuration that are right by themselves have wrong together, and the defaults that depend on other keys. */
import { defaultNoise, type ParsedConfig, type RunConfig } from '../../config.js';
import { lossProblems } from '../../learning/losses.js';
import { stageProblems } from '../../rollout/stages.js';
import { windowProblems } from '../../sampling/window.js';
import { serverProblems } from '../rewards/server.js';

/** Something wrong with a configuration: the path of its key, and what. */
export interface ConfigProblem {
  readonly path: readonly string[];
  readonly message: string;
  /** The key itself is wrong, not its value. */
  readonly unknown?: boolean;
}

/** What keys that are right by themselves have wrong together. */
export function contradictions(config: ParsedConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const expect = (condition: boolean, path: string, message: string): void => {
    if (!condition) problems.push({ path: path.split('.'), message });
  };
  for (const { key, message } of stageProblems(config)) expect(false, key, message);
  for (const { key, message } of lossProblems(config)) expect(false, key, message);
  for (const { key, message } of windowProblems(config)) expect(false, key, message);
  const { kind } = config.sampler;
  expect(
    kind !== undefined || config.sampler.noise !== undefined,
    'sampler.noise',
    'missing; its default depends on sampler.kind, which is missing too',
  );
  for (const key of ['noise', 'eval_noise'] as const) {
    const noise = config.sampler[key];
    expect(
      kind !== 'ddim' || noise === undefined || noise <= 1,
      `sampler.${key}`,
      `eta of ddim is at most 1, found ${noise}`,
    );
  }
  expect(Object.keys(config.reward).length > 0, 'reward', 'expected one reward or more: { brightness: {} }');
  for (const [name, { module, http }] of Object.entries(config.reward))
    expect(
      module === undefined || http === undefined,
      `reward.${name}`,
      'expected a module or an http server, found both',
    );
  for (const [name, keys] of Object.entries(config.reward))
    for (const { key, message } of serverProblems(keys)) problems.push({ path: ['reward', name, ...key], message });
  if (config.lora === null) {
    expect(
      config.grpo.kl_reference === 'base',
      'grpo.kl_reference',
      'initial means the adapter as it began, but lora is null; expected base, a copy of the weights that learn',
    );
    expect(
      config.model.weights === 'f32' || Boolean(config.train.weights),
      'model.weights',
      'training every weight (lora: null) needs f32',
    );
  } else
    expect(
      !config.train.weights,
      'train.weights',
      "with an adapter the network's own weights stay as they are; expected lora: null",
    );
  expect(config.sample.seeds.length > 0, 'sample.seeds', 'expected one seed or more, found an empty list');
  return problems;
}

/** Fills in the defaults that depend on other keys. */
export function completeConfig(config: ParsedConfig): RunConfig {
  const { lora } = config;
  const { kind, noise, eval_steps, ...sampler } = config.sampler;
  const { weights, ...train } = config.train;
  return {
    ...config, // first, for the order of the sections
    lora: lora && { ...lora, alpha: lora.alpha ?? 2 * lora.rank },
    sampler: {
      ...sampler,
      ...(kind && { kind }),
      noise: noise ?? defaultNoise[kind!], // contradictions() asks for one of the two
      eval_steps: eval_steps ?? sampler.steps,
    },
    train: { ...(weights && { weights }), ...train },
  };
}
