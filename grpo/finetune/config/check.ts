/** What keys of a configuration that are right by themselves have wrong together, and the defaults that depend on other keys. */
import { defaultNoise, type ParsedConfig, type RunConfig } from '../../config.js';

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
  const { keep, prune_at: at, prune } = config.grpo;
  const { steps, kind } = config.sampler;
  expect(keep.length > 0, 'grpo.keep', 'expected the size of the group, found an empty list');
  expect(
    keep.every((count, i) => i === 0 || count < keep[i - 1]!),
    'grpo.keep',
    `expected falling counts, found [${keep.join(', ')}]`,
  );
  expect(
    at.every((step, i) => i === 0 || step > at[i - 1]!),
    'grpo.prune_at',
    `expected rising steps, found [${at.join(', ')}]`,
  );
  expect(
    at.every((step) => step < steps),
    'grpo.prune_at',
    `expected steps below sampler.steps (0 to ${steps - 1}), found [${at.join(', ')}]`,
  );
  if (prune === 'none') {
    expect(at.length === 0, 'grpo.prune_at', `prune: none has no checkpoints: expected [], found [${at.join(', ')}]`);
    expect(
      keep.length === 1,
      'grpo.keep',
      `prune: none keeps the whole group: expected one count, found [${keep.join(', ')}]`,
    );
  } else if (prune === 'ovf-after') {
    expect(
      at.length === 0,
      'grpo.prune_at',
      `prune: ovf-after selects by final rewards: expected [], found [${at.join(', ')}]`,
    );
    expect(
      keep.length === 2,
      'grpo.keep',
      `prune: ovf-after needs two counts (drawn, then kept), found [${keep.join(', ')}]`,
    );
  } else {
    const atEnd = prune === 'uniform' && keep.length === at.length + 2;
    expect(keep.length > 1, 'grpo.keep', `prune: ${prune} needs two counts or more, found [${keep.join(', ')}]`);
    expect(
      atEnd || keep.length === at.length + 1,
      'grpo.prune_at',
      `${at.length} ${at.length === 1 ? 'checkpoint needs' : 'checkpoints need'} ${at.length + 1} counts in grpo.keep (start, then one each); found ${keep.length}`,
    );
  }
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
