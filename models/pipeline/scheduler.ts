/**
 * scheduler_config.json: every key of it is obeyed, refused unless it has the one value that is implemented, or listed as
 * irrelevant with the reason. An absent key has the default of the class that `_class_name` names.
 */
import { type ConfigKey, configTable, count, flag, number, only, type ResolvedConfig, word } from '../files/config.js';
import { takeConfig } from '../files/config_file.js';
import { ModelFileError } from '../files/errors.js';
import { shown } from '../files/weight_files.js';
import { type PipelineKind, pipelineKinds } from './kinds.js';
import { type DiffusionDefaults, diffusionClasses, irrelevantKeys } from './scheduler_classes.js';

/** The most timesteps of training that a folder may ask for: each has a number in memory. */
const mostTimesteps = 100_000;

const trainTimesteps = (): ConfigKey<number> => ({
  ...count(1000),
  expected: `an integer from 1 to ${mostTimesteps}`,
  isWithin: (value) => value >= 1 && value <= mostTimesteps,
});

const offset = (): ConfigKey<number> => ({
  ...count(1),
  default: 0,
  expected: 'an integer of 0 or more',
  isWithin: (value) => value >= 0,
});

const isBeta = (value: number): boolean => value > 0 && value < 1;
const beta = (usual: number): ConfigKey<number> =>
  number(usual, { expected: 'a number between 0 and 1', isWithin: isBeta });

/** The last of a list may be 1, which leaves nothing of the sample. */
const betas = (): ConfigKey<readonly number[] | null> => ({
  type: 'a list of numbers',
  isType: (value) => Array.isArray(value) && value.every((each) => typeof each === 'number'),
  default: null,
  required: false,
  expected: 'a list of numbers between 0 and 1',
  isWithin: (values) => values === null || values.every((each, i) => isBeta(each) || (each === 1 && i > 0)),
});

const positive = (usual: number): ConfigKey<number> =>
  number(usual, { expected: 'a positive number', isWithin: (value) => value > 0 });

/** What a scheduler of diffusion may say, with the defaults of its class. DDIM samples by it, whatever its class. */
const diffusionTable = (className: string, usual: DiffusionDefaults) =>
  configTable({
    network: className,
    classes: [className],
    keys: {
      num_train_timesteps: trainTimesteps(),
      beta_start: beta(usual.beta_start),
      beta_end: beta(usual.beta_end),
      beta_schedule: word(['linear', 'scaled_linear', 'squaredcos_cap_v2'], 'linear'),
      trained_betas: betas(),
      rescale_betas_zero_snr: flag(false),
      prediction_type: word(['epsilon', 'v_prediction', 'sample'], 'epsilon'),
      timestep_spacing: word(['leading', 'trailing', 'linspace'], usual.timestep_spacing),
      steps_offset: offset(),
      set_alpha_to_one: flag(usual.set_alpha_to_one),
      clip_sample: flag(usual.clip_sample),
      clip_sample_range: positive(1),
      thresholding: only(false),
      predict_epsilon: only(true), // an old name for prediction_type
      timestep_type: only('discrete'),
      sigma_min: only(null),
      sigma_max: only(null),
      use_flow_sigmas: only(false),
      use_dynamic_shifting: only(false),
      shift_terminal: only(null),
    },
    *across({ trained_betas, num_train_timesteps, rescale_betas_zero_snr, prediction_type, timestep_spacing }) {
      if (trained_betas && trained_betas.length !== num_train_timesteps) {
        const expected = `num_train_timesteps ${num_train_timesteps}, one for each`;
        yield { key: 'trained_betas', found: `${trained_betas.length} betas`, expected };
      }
      if (rescale_betas_zero_snr && prediction_type === 'epsilon' && timestep_spacing !== 'leading') {
        const expected = `v_prediction or sample, as rescale_betas_zero_snr and timestep_spacing ${timestep_spacing} begin where noise says nothing of the sample`;
        yield { key: 'prediction_type', found: prediction_type, expected };
      }
    },
  });

const spacings = ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas'] as const;

/** What FlowMatchEulerDiscreteScheduler may say. */
const flowTable = configTable({
  network: 'FlowMatchEulerDiscreteScheduler',
  classes: ['FlowMatchEulerDiscreteScheduler'],
  keys: {
    num_train_timesteps: trainTimesteps(),
    shift: positive(1),
    use_dynamic_shifting: flag(false),
    base_shift: number(0.5),
    max_shift: number(1.15),
    base_image_seq_len: count(256),
    max_image_seq_len: count(4096),
    time_shift_type: word(['exponential', 'linear'], 'exponential'),
    shift_terminal: terminal(),
    use_karras_sigmas: flag(false),
    use_exponential_sigmas: flag(false),
    use_beta_sigmas: flag(false),
    invert_sigmas: only(false),
    stochastic_sampling: only(false),
  },
  *across(config) {
    const spaced = spacings.filter((key) => config[key]);
    for (const key of spaced.slice(1)) yield { key, found: true, expected: `false beside ${spaced[0]}` };
    if (config.use_dynamic_shifting && config.base_image_seq_len >= config.max_image_seq_len) {
      const expected = `more than base_image_seq_len ${config.base_image_seq_len}`;
      yield { key: 'max_image_seq_len', found: config.max_image_seq_len, expected };
    }
  },
});

function terminal(): ConfigKey<number | null> {
  return {
    ...number(0, {
      expected: 'a number from 0, which is none, to below 1',
      isWithin: (value) => value >= 0 && value < 1,
    }),
    default: null,
  } as ConfigKey<number | null>; // null is the default alone, which is not checked
}

/** The noise schedule of a folder, by its kind. */
export type Scheduler = {
  /** scheduler_config.json. */
  readonly path: string;
  /** What a person should know: that another sampler is used than the one that is named. */
  readonly warnings: readonly string[];
} & (
  | { readonly kind: 'flow'; readonly config: ResolvedConfig<typeof flowTable> }
  | { readonly kind: 'diffusion'; readonly config: DiffusionConfig }
);

/**
 * A scheduler_config.json that was read from `path`, as the pipeline of a kind takes it; `named` is the class that
 * model_index.json has for it. Throws a ModelFileError that lists each key that would change a picture and is not implemented,
 * is of a wrong type, out of bounds, or unknown.
 */
export function takeScheduler(
  path: string,
  config: Readonly<Record<string, unknown>>,
  { kind, named }: { readonly kind: PipelineKind; readonly named?: unknown },
): Scheduler {
  const isFlow = pipelineKinds[kind].prediction === 'flow';
  const known = isFlow ? flowTable.classes : Object.keys(diffusionClasses);
  const found = config._class_name ?? named ?? known[0];
  const className = known.find((each) => each === found);
  if (className === undefined) {
    const expected = known.length > 1 ? `one of ${known.join(', ')}` : known[0];
    throw new ModelFileError(path, [`_class_name is ${shown(found)}, expected ${expected}`]);
  }
  if (isFlow) {
    const taken = takeConfig(path, config, flowTable, unknownKeys(config, flowTable.keys));
    return { kind: 'flow', path, config: taken, warnings: [] };
  }
  const table = diffusionTable(className, diffusionClasses[className]!);
  const taken = takeConfig(path, config, table, unknownKeys(config, { ...table.keys, ...irrelevantKeys }));
  return { kind: 'diffusion', path, config: corrected(kind, taken), warnings: ddimWarnings(className, config) };
}

/** Keys without a row. Those that begin with _ are about the file; a switch that is off asks for nothing. */
const unknownKeys = (config: Readonly<Record<string, unknown>>, known: object): string[] =>
  Object.entries(config)
    .filter(([key, value]) => !key.startsWith('_') && !(key in known) && value !== null && value !== false)
    .map(([key, value]) => `${key} is ${shown(value)}, expected a key of the scheduler that is implemented, or none`);

type DiffusionConfig = ResolvedConfig<ReturnType<typeof diffusionTable>>;

/** What the pipelines of diffusers make of it: StableDiffusionPipeline sets two keys whatever the file says, DiTPipeline none. */
const corrected = (kind: PipelineKind, config: DiffusionConfig): DiffusionConfig =>
  kind === 'sd1' ? { ...config, steps_offset: 1, clip_sample: false } : config;

function ddimWarnings(className: string, config: Readonly<Record<string, unknown>>): string[] {
  if (className === 'DDIMScheduler') return [];
  const ignored = Object.keys(config).filter(
    (key) => key in irrelevantKeys && config[key] !== null && config[key] !== false,
  );
  const without = ignored.length > 0 ? `; not read: ${ignored.join(', ')}` : '';
  return [`the folder names ${className}: DDIM samples, with the noise schedule of scheduler_config.json${without}`];
}
