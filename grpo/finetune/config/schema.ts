/** What a configuration may hold: types, ranges and defaults of every key (grpo/config.ts says what they mean). */
import { z } from 'zod';
import { defaultNoise, defaults, type RunConfig } from '../../config.js';
import { stageProblems } from '../../rollout/stages.js';

// Each schema's error is what was expected; config_file.ts says what was found, and where.
const number = () => z.number({ error: 'a number' });
const above = (least: number) => number().gt(least, { error: `a number above ${least}` });
const atLeast = (least: number) => number().min(least, { error: `a number of at least ${least}` });
const between = (low: number, high: number, error: string) => number().gt(low, { error }).max(high, { error });
const whole = (least: number, most = Number.MAX_SAFE_INTEGER) => {
  const error = `a whole number of at least ${least}${most < Number.MAX_SAFE_INTEGER ? ` and at most ${most}` : ''}`;
  return z.int({ error: 'a whole number' }).min(least, { error }).max(most, { error });
};
const decay = () => {
  const error = 'a decay of at least 0 and below 1';
  return number().min(0, { error }).lt(1, { error });
};
const text = (error: string) => z.string({ error }).min(1, { error });
const flag = z.boolean({ error: 'true or false' });
const list = <T extends z.ZodType>(item: T, error: string) => z.array(item, { error });
const oneOf = <const T extends readonly string[]>(...names: T) =>
  z.enum(names, { error: `one of ${names.join(', ')}` });

const section = <T extends z.ZodRawShape>(shape: T) =>
  z.strictObject(shape, { error: ({ code }) => (code === 'unrecognized_keys' ? 'unknown key' : 'keys with values') });

const { lora, reward, sampler, grpo, train, save, sample, eval: evaluation } = defaults;
const seed = () => whole(0, 0xffffffff);

const rewardSchema = section({
  weight: number().default(reward.weight),
  module: text('the path of an ES module').optional(),
  http: z.url({ protocol: /^https?$/, error: 'an address, http:// or https://' }).optional(),
  timeout_s: above(0).default(reward.timeout_s),
  path: text('the path of a folder').optional(),
});

/** The keys of a run as the file has them: some defaults are filled in later, as they depend on other keys. */
export const configSchema = section({
  model: section({
    path: text('a model folder, or the name of an embedded model'),
    weights: oneOf('f32', 'f16').default(defaults.model.weights),
  }),
  lora: section({
    rank: whole(1).default(lora.rank),
    alpha: above(0).optional(),
    targets: z
      .union([z.string().min(1), z.array(z.string().min(1)).min(1)], {
        error: 'attention, blocks, the end of a layer name, or a list of those',
      })
      .default(lora.targets),
  })
    .nullable()
    .prefault({}),
  prompts: section({ train: text('a file of prompts, or scenes'), test: text('a file of prompts, or scenes') }),
  reward: z.record(z.string(), rewardSchema, { error: 'rewards by name, each with its keys: { brightness: {} }' }),
  sampler: section({
    steps: whole(1, 1000).default(sampler.steps),
    guidance: atLeast(0).default(sampler.guidance),
    kind: oneOf('flow-sde', 'dance', 'cps', 'ddim').optional(),
    noise: above(0).optional(),
    resolution: whole(8).optional(),
    batch: whole(1).optional(),
    eval_steps: whole(1, 1000).optional(),
    eval_guidance: atLeast(0).optional(),
    eval_noise: atLeast(0).default(sampler.eval_noise),
    detach_unconditional: flag.default(sampler.detach_unconditional),
    same_latent: flag.default(sampler.same_latent),
  }).prefault({}),
  grpo: section({
    keep: list(whole(2), 'counts, such as [24, 16, 12]').default([...grpo.keep]),
    prune_at: list(whole(0), 'steps, such as [5, 7]').default([...grpo.prune_at]),
    prune: oneOf('ovf', 'uniform', 'none', 'ovf-after', 'best-of-n').default(grpo.prune),
    groups_per_update: whole(1).default(grpo.groups_per_update),
    clip: between(0, 0.999, 'a number above 0 and below 1').default(grpo.clip),
    kl: atLeast(0).default(grpo.kl),
    kl_form: oneOf('flow-grpo', 'gaussian', 'velocity').default(grpo.kl_form),
    advantage_max: above(0).default(grpo.advantage_max),
    advantage_eps: atLeast(0).default(grpo.advantage_eps),
    global_std: flag.default(grpo.global_std),
    combine: oneOf('sum', 'normalised').default(grpo.combine),
    timestep_fraction: between(0, 1, 'a share above 0 and up to 1').default(grpo.timestep_fraction),
    shuffle_timesteps: flag.default(grpo.shuffle_timesteps),
    train_last_step: flag.default(grpo.train_last_step),
    updates_per_rollout: whole(1).default(grpo.updates_per_rollout),
  }).prefault({}),
  train: section({
    weights: z.array(z.string().min(1)).min(1).nullish(), // null: all, as without the key
    updates: whole(0).default(train.updates),
    lr: atLeast(0).default(train.lr),
    weight_decay: atLeast(0).default(train.weight_decay),
    betas: z
      .tuple([decay(), decay()], { error: 'two decays, such as [0.9, 0.999]' })
      .default([train.betas[0], train.betas[1]]),
    eps: above(0).default(train.eps),
    grad_norm: above(0).default(train.grad_norm),
    micro_batch: whole(1).default(train.micro_batch),
    ema: decay().default(train.ema),
    checkpointing: flag.default(train.checkpointing),
  }).prefault({}),
  save: section({ every: whole(1).default(save.every), keep: whole(1).default(save.keep) }).prefault({}),
  sample: section({
    every: whole(0).default(sample.every),
    prompts: text('a file of prompts').optional(),
    seeds: list(seed(), 'seeds, such as [1, 2]').default([...sample.seeds]),
  }).prefault({}),
  eval: section({
    every: whole(0).default(evaluation.every),
    n: whole(1).default(evaluation.n),
    rewards: list(text('the name of a reward'), 'names of rewards').default([...evaluation.rewards]),
  }).prefault({}),
  seed: seed().default(defaults.seed),
});

export type ParsedConfig = z.output<typeof configSchema>;

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
  const { steps, kind } = config.sampler;
  const trained = config.grpo.train_last_step ? steps : steps - 1;
  expect(trained >= 1, 'sampler.steps', 'expected 2 steps or more: the last is not trained (grpo.train_last_step)');
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
  if (config.lora === null) {
    expect(
      config.grpo.kl === 0,
      'grpo.kl',
      'a divergence needs the adapter switched off as reference, but lora is null; expected 0',
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
