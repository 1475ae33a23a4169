/** Model folders as the trainer sees them: a pipeline, its noise schedule, and what of it learns. */
import { CheckError, type Device, type Tensor } from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import { embeddedFolder, embeddedModels } from '../../models/embedded/index.js';
import { isTarget, Lora, targetsNamed } from '../../models/lora/lora.js';
import { pipelineKinds } from '../../models/pipeline/kinds.js';
import {
  loadPipeline,
  type Pipeline,
  type PipelineOptions,
  type PipelineSizes,
} from '../../models/pipeline/pipeline.js';
import type { Scheduler } from '../../models/pipeline/scheduler.js';
import type { RunConfig, StepKind } from '../config.js';
import type { GenerativeModel } from '../model.js';
import { ddimSchedule, dynamicShift, flowMatchSchedule, shiftedLinearSchedule } from '../sampling/schedule.js';
import type { NoiseSchedule } from '../sampling/transitions.js';

/** A model folder that learns. */
export interface LoadedModel extends GenerativeModel {
  readonly folder: string;
  readonly pipeline: Pipeline;
  /** The adapter; null where the network's own weights learn. */
  readonly lora: Lora | null;
  /** What a person should know of the folder. */
  readonly warnings: readonly string[];
  /** Frees every weight. */
  dispose(): void;
}

type FlowConfig = Extract<Scheduler, { kind: 'flow' }>['config'];
type DiffusionConfig = Extract<Scheduler, { kind: 'diffusion' }>['config'];

/**
 * The noise levels that a folder's scheduler visits in `steps` steps, for latents of [height, width] (default: the folder's
 * own), by which a dynamic shift goes. DanceGRPO's steps take its own levels: the folder's shift on even ones, without the tiny
 * last step of the scheduler's. Throws a CheckError for a number of steps that the scheduler can't take.
 */
export function scheduleOf(
  pipeline: Pick<Pipeline, 'kind' | 'scheduler' | 'latentSize' | 'config'>,
  steps: number,
  step?: StepKind,
  latent: readonly [height: number, width: number] = [pipeline.latentSize, pipeline.latentSize],
): NoiseSchedule {
  const { scheduler } = pipeline;
  switch (scheduler.kind) {
    case 'flow':
      return { kind: 'flow', levels: flowLevels(scheduler.config, tokensOf(pipeline, latent), steps, step) };
    case 'diffusion':
      return diffusionSteps(scheduler.config, steps);
  }
}

/** What a transformer makes of latents: one token for each patch. */
function tokensOf({ config }: Pick<Pipeline, 'config'>, latent: readonly number[]): number {
  const side = 'patch_size' in config ? config.patch_size : 1;
  return latent.reduce((tokens, size) => tokens * Math.floor(size / side), 1);
}

function flowLevels(config: FlowConfig, tokens: number, steps: number, step?: StepKind) {
  const { num_train_timesteps: trainTimesteps, use_dynamic_shifting: dynamic, time_shift_type: type } = config;
  const { base_shift: base, max_shift: max, base_image_seq_len: baseTokens, max_image_seq_len: maxTokens } = config;
  const shift = dynamic ? dynamicShift(tokens, { base, max, baseTokens, maxTokens }, type) : config.shift;
  if (step === 'dance') return shiftedLinearSchedule(steps, shift, { trainTimesteps });
  const spacing = (['karras', 'exponential', 'beta'] as const).find((name) => config[`use_${name}_sigmas`]);
  const terminal = config.shift_terminal || undefined; // 0 is none, as null
  return flowMatchSchedule(steps, shift, { trainTimesteps, dynamic, terminal, spacing });
}

const diffusionSteps = (config: DiffusionConfig, steps: number): NoiseSchedule => ({
  kind: 'diffusion',
  prediction: config.prediction_type,
  clip: config.clip_sample ? config.clip_sample_range : undefined,
  steps: ddimSchedule(steps, {
    trainTimesteps: config.num_train_timesteps,
    betaStart: config.beta_start,
    betaEnd: config.beta_end,
    betaSchedule: config.beta_schedule,
    trainedBetas: config.trained_betas,
    rescaleZeroSnr: config.rescale_betas_zero_snr,
    timestepSpacing: config.timestep_spacing,
    stepsOffset: config.steps_offset,
    setAlphaToOne: config.set_alpha_to_one,
  }),
});

/** The folder that `model.path` means: that of an embedded model by its name, or the path itself. */
export function modelFolder(path: string): string {
  const embedded = embeddedModels.find((name) => name === path);
  return embedded ? embeddedFolder(embedded) : path;
}

/** What of the configuration concerns the model. */
export type ModelConfig = Pick<RunConfig, 'model' | 'lora' | 'seed'> & {
  readonly sampler?: Pick<RunConfig['sampler'], 'resolution' | 'negative_prompt'>;
  readonly train?: Partial<Pick<RunConfig['train'], 'checkpointing' | 'weights'>>;
};

/** Loads a model folder and gives it a fresh adapter, or has its own weights learn. Throws a ModelFileError for files that do not fit. */
export async function loadPolicy(
  device: Device,
  config: ModelConfig,
  options: Pick<PipelineOptions, 'maxSequenceLength'> = {},
): Promise<LoadedModel> {
  const { model, lora: wanted, sampler, train } = config;
  if (!wanted && !train?.weights && model.weights !== 'f32')
    throw new CheckError(`model.weights is ${model.weights}; training every weight (lora: null) needs f32`);
  const folder = modelFolder(model.path);
  return owning(async (own) => {
    const warnings: string[] = [];
    const warn = (message: string): void => void warnings.push(message);
    const { weights: storage, variant } = model;
    const pipeline = own(
      await loadPipeline(device, folder, { ...options, storage, warn, ...(variant && { variant }) }),
    );
    const frozen = frozenModel(pipeline, { ...sampler, ...train });
    const lora = wanted && own(adapterOf(pipeline, wanted, config.seed));
    return {
      ...frozen,
      folder,
      pipeline,
      lora,
      warnings,
      trainable: lora ? adapterTensors(lora) : networkTensors(pipeline, train?.weights ?? undefined),
      ...(lora && { reference: <R>(body: () => R): R => lora.without(body) }),
      dispose: () => {
        lora?.dispose();
        pipeline.dispose();
      },
    };
  });
}

/** Side of a picture in pixels, or [height, width]. */
export type Resolution = number | readonly [number, number];

interface FrozenOptions {
  readonly resolution?: Resolution | undefined;
  readonly negative_prompt?: string | undefined;
  readonly checkpointing?: boolean;
}

/** A pipeline as samplers see it. Nothing of it learns. */
export function frozenModel(
  pipeline: Pipeline,
  { resolution, negative_prompt: negativePrompt, checkpointing = false }: FrozenOptions = {},
): GenerativeModel {
  const { device, kind, vae } = pipeline;
  const { factor } = vae;
  const latentShape = latentShapeOf({ ...pipeline, factor }, resolution);
  const [, height, width] = latentShape;
  const forward = { recompute: checkpointing };
  return {
    device,
    kind: pipelineKinds[kind].prediction,
    latentShape,
    pictureSize: [height * factor, width * factor],
    negativePrompt,
    schedule: (steps, step) => scheduleOf(pipeline, steps, step, [height, width]),
    encode: (prompts) => pipeline.encode(prompts),
    predict: (latents, timestep, condition) => pipeline.predict(latents, timestep, condition, forward),
    decode: (latents) => vae.decode(vae.unscaled(latents)),
    trainable: new Map(),
  };
}

/** [channels, height, width] of the latents of pictures of a resolution. Throws a CheckError for sides that the decoder lacks. */
export function latentShapeOf(
  { latentShape, factor }: Pick<PipelineSizes, 'latentShape' | 'factor'>,
  resolution?: Resolution,
): readonly [number, number, number] {
  if (resolution === undefined) return latentShape;
  const [height, width = height] = [resolution].flat() as [number, number?]; // one side or two, by its type
  if (height % factor !== 0 || width % factor !== 0)
    throw new CheckError(
      `sampler.resolution is ${JSON.stringify(resolution)}, expected a multiple of ${factor}, as the decoder has it`,
    );
  return [latentShape[0], height / factor, width / factor];
}

function adapterOf(
  { parameters }: Pipeline,
  { rank, alpha, targets }: NonNullable<RunConfig['lora']>,
  seed: number,
): Lora {
  return Lora.inject(parameters, { targets: targetsNamed(targets, parameters.linears.keys()), rank, alpha, seed });
}

/** An adapter's tensors under PEFT's names. */
export const adapterTensors = ({ modules }: Lora): Map<string, Tensor> =>
  new Map(
    modules.flatMap(({ name, down, up }): [string, Tensor][] => [
      [`${name}.lora_A.weight`, down],
      [`${name}.lora_B.weight`, up],
    ]),
  );

/** The network's own weights that learn: all, or those that are named. They must be kept in f32, as vectors always are. */
function networkTensors({ parameters: { all } }: Pipeline, names?: readonly string[]): Map<string, Tensor> {
  for (const end of names ?? []) {
    if (!all.some(({ name }) => isTarget(name, [end])))
      throw new CheckError(`train.weights: none of the network's ${all.length} weights is named ${end}`);
  }
  const chosen = all.filter(({ name }) => !names || isTarget(name, names));
  const half = chosen.find(({ tensor }) => tensor.dtype !== 'f32');
  if (half) throw new CheckError(`train.weights: ${half.name} is kept in f16; training it needs model.weights f32`);
  return new Map(chosen.map(({ name, tensor }): [string, Tensor] => [name, tensor.requireGrad()]));
}
