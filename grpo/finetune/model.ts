/** A model that programs draw with, train and save: a model folder, or what a run has made of it. */
import { rm } from 'node:fs/promises';
import { makeFolder, writing } from '../../engine/files.js';
import { Device, type Tensor } from '../../engine/index.js';
import { type Own, owning } from '../../engine/owning.js';
import { type FileTensor, writeSafetensors } from '../../engine/safetensors.js';
import { loadLora } from '../../models/lora/load_lora.js';
import type { Lora } from '../../models/lora/lora.js';
import { type SaveLoraOptions, saveLora } from '../../models/lora/save_lora.js';
import { pipelineKinds } from '../../models/pipeline/kinds.js';
import { loadPipeline, type Pipeline } from '../../models/pipeline/pipeline.js';
import { readPromptEmbeds } from '../../models/pipeline/prompt_embeds.js';
import { defaultNoise, defaults, type RunConfig } from '../config.js';
import type { PictureSamplerOptions } from '../evaluate.js';
import type { GenerativeModel } from '../model.js';
import type { TransitionOptions } from '../sampling/transitions.js';
import { initAdapter, readRunWeights } from './adapter.js';
import { loadConfig } from './config/file.js';
import { openDevice } from './device.js';
import { drawJobs, evaluationSampling } from './drawing.js';
import { preparing, UsageError } from './errors.js';
import { exportModel } from './export/model_folder.js';
import { SampledPicture } from './picture.js';
import { frozenModel, type LoadedModel, loadPolicy, type ModelConfig, modelFolder, type Resolution } from './policy.js';
import { RunFolder } from './run/folder.js';
import { findRun } from './run/list.js';

export interface ModelOptions {
  /** A device that is open, or part of an adapter's name. Default: the best adapter there is. */
  readonly device?: Device | string | undefined;
  /**
   * An adapter that learns: its rank (default 8), alpha (2 rank) and targets (attention). null has the network's own weights
   * learn. Without it nothing does, and the model only draws.
   */
  readonly lora?: Partial<NonNullable<RunConfig['lora']>> | null;
  /** With `lora: null` the names of the weights that learn, by their ends. Default: all. */
  readonly trainable?: readonly string[];
  /** How frozen matrices are kept on the GPU. Default f16, and f32 where the network's own weights learn. */
  readonly weights?: 'f32' | 'f16';
  /** A file or folder of adapter weights to draw with, or to begin with where `lora` is given. */
  readonly adapter?: string | undefined;
  /** Variant of the weights' files, such as fp16. Default: the plain files, or the only variant. */
  readonly variant?: string | undefined;
  /** Side of a picture in pixels, or [height, width]. Default: the model's own. */
  readonly resolution?: Resolution;
  /** Recompute blocks in the backward instead of keeping their activations. Default false. */
  readonly checkpointing?: boolean;
  /** Of the fresh adapter. Default 42. */
  readonly seed?: number;
  /** Of a run: the checkpoint after so many updates. Default: the last. */
  readonly step?: number | undefined;
  /** Of a run: the model as it was before. Default false. */
  readonly base?: boolean | undefined;
}

/** How pictures are drawn, but for the memory it takes. */
type Sampling = Omit<PictureSamplerOptions, 'batch'>;

export interface SampleOptions {
  /** Denoising steps. Default: 28, or those of the run's evaluations. */
  readonly steps?: number | undefined;
  /** Classifier-free guidance; 1 is none. Default: 7.5 of SD 1, 4.5 of SD 3, 4 of DiT, or that of the run's evaluations. */
  readonly guidance?: number | undefined;
  /** What guidance leads away from. Default: the run's, or the empty prompt. */
  readonly negativePrompt?: string | undefined;
  /** Seed of the first picture; each next one has one more. Default 0. */
  readonly seed?: number;
  /** Pictures of each prompt. Default 1. */
  readonly n?: number;
  /** Steps with noise, as in rollouts, or none. Default: as the run's evaluations, else none. */
  readonly stochastic?: boolean | undefined;
  /** Pictures computed at once: memory, not the result. Default 4. */
  readonly batch?: number;
  /** Called after each step of a batch, with the pictures done before it. Given one, every step is waited for. */
  readonly onStep?: ((done: number, step: number, steps: number) => void) | undefined;
}

const usualSteps = 28;

/** A file of conditions in the place of prompts; see readPromptEmbeds() in winnow/models. */
export interface GivenEmbeds {
  readonly promptEmbeds: string;
}

/** What a model is made of. */
interface Parts {
  /** As it was asked for. */
  readonly source: string;
  /** As samplers see it. */
  readonly generator: GenerativeModel;
  /** Networks, tokenizers and scheduler. */
  readonly pipeline: Pipeline;
  /** What learns; undefined where nothing does. */
  readonly policy: LoadedModel | undefined;
  /** The adapter that it draws with, where nothing learns. */
  readonly lora?: Lora;
  /** The sections of a configuration that it was loaded by. */
  readonly config: ModelConfig | undefined;
  /** How it usually draws, and its steps with noise. */
  readonly usual: Sampling;
  readonly rollout: TransitionOptions;
  /** What a person should know of its files and of how it was loaded. */
  readonly warnings: readonly string[];
  /** Closes the device, where it is the model's own. */
  readonly closeDevice: (() => void) | undefined;
}

export class Model {
  /** @internal Made by loadModel(). */
  constructor(private readonly parts: Parts) {}

  get source(): string {
    return this.parts.source;
  }

  get device(): Device {
    return this.parts.pipeline.device;
  }

  get pipeline(): Pipeline {
    return this.parts.pipeline;
  }

  /** What a person should know: what its folder lacks, what of its files is not read, a damaged checkpoint that was passed over. */
  get warnings(): readonly string[] {
    return this.parts.warnings;
  }

  /** What learns, and the configuration it was loaded by. Throws a UsageError where nothing does. */
  get learning(): { readonly policy: LoadedModel; readonly config: ModelConfig } {
    const { source, policy, config } = this.parts;
    if (!policy || !config)
      throw new UsageError(`${source}: nothing of it learns; load it with an adapter: loadModel(..., { lora: {} })`);
    return { policy, config };
  }

  /**
   * Draws pictures of a prompt or several, `n` of each: picture i of all has the seed `seed + i`, and depends on its prompt
   * and seed alone. A file of conditions may stand in the place of prompts. Throws a DivergedError for values that are not finite.
   */
  async sample(
    given: string | readonly string[] | GivenEmbeds,
    options: SampleOptions = {},
  ): Promise<SampledPicture[]> {
    const { usual, rollout, source } = this.parts;
    const { steps = usual.steps, guidance = usual.guidance, seed = 0, n = 1, batch = 4, onStep } = options;
    const stochastic = options.stochastic === undefined ? usual.stochastic : options.stochastic ? rollout : undefined;
    const { generator, prompts } = await this.reading(given, { ...options, guidance });
    const jobs = prompts.flatMap((prompt, p) =>
      Array.from({ length: n }, (_, i) => ({ prompt, seed: seed + p * n + i })),
    );
    if (jobs.length === 0) return [];
    if (!(Number.isInteger(seed) && seed >= 0 && seed + jobs.length <= 2 ** 32))
      throw new UsageError(
        `seed ${seed} of ${jobs.length} pictures: expected whole numbers of 32 bits, up to 4294967295`,
      );
    const pictures = await preparing(() => drawJobs(generator, jobs, { steps, guidance, stochastic, batch, onStep }));
    const how = { model: source, steps: `${steps}`, guidance: `${guidance}`, noise: `${stochastic?.noise ?? 0}` };
    return pictures.map((picture, i) => new SampledPicture(picture, jobs[i]!, how));
  }

  /** The prompts, and the model as samplers see it that reads them: its own encoders, or the rows of a file by their names. */
  private async reading(
    given: string | readonly string[] | GivenEmbeds,
    { guidance, negativePrompt }: Pick<SampleOptions, 'negativePrompt'> & { readonly guidance: number },
  ): Promise<{ readonly generator: GenerativeModel; readonly prompts: readonly string[] }> {
    const own = { ...this.parts.generator, ...(negativePrompt !== undefined && { negativePrompt }) };
    if (typeof given !== 'object' || !('promptEmbeds' in given)) return { generator: own, prompts: [given].flat() };
    const { path, count, shapes, encode, negative } = await readPromptEmbeds(this.pipeline, given.promptEmbeds);
    const prompts = Array.from({ length: count }, (_, i) => `${path} ${i}`);
    const none = own.negativePrompt ?? '';
    if (negative && negativePrompt !== undefined)
      throw new UsageError(`${path} has negative embeddings, so that there is no place for a negative prompt`);
    const unconditional = (texts: readonly string[]): Tensor[] => {
      if (negative) return negative(texts.length);
      // Without guidance the condition of no prompt is never looked at, but for its shape.
      if (guidance === 1) return encode(texts.map(() => 0));
      const encoded = own.encode(texts);
      const found = encoded.map(({ shape }) => shape.slice(1));
      if (JSON.stringify(found) === JSON.stringify(shapes)) return encoded;
      for (const each of encoded) each.dispose();
      throw new UsageError(
        `${path} has conditions of ${JSON.stringify(shapes)} a prompt, and of no prompt the model makes ${JSON.stringify(found)}: give negative ones in the file too`,
      );
    };
    const isNone = (texts: readonly string[]): boolean => texts.every((text) => text === none);
    const generator: GenerativeModel = {
      ...own,
      encode: (texts) => (isNone(texts) ? unconditional(texts) : encode(texts.map((text) => prompts.indexOf(text)))),
    };
    return { generator, prompts };
  }

  /**
   * Saves what was learned into a folder and returns the path of its weights: the adapter, for diffusers, PEFT or kohya; of a
   * network whose own weights learn a whole model folder, which must not exist yet.
   */
  async save(
    folder: string,
    { format = 'diffusers', dtype = 'f32' }: Partial<Pick<SaveLoraOptions, 'format'>> & { dtype?: 'f32' | 'f16' } = {},
  ): Promise<string> {
    const { policy } = this.learning;
    const { component } = pipelineKinds[this.pipeline.kind];
    const type = dtype === 'f16' ? 'F16' : 'F32';
    const { lora } = policy;
    if (lora)
      return writing(folder, async () => {
        await makeFolder(folder);
        return saveLora(folder, lora, { format, component, dtype: type });
      });
    const weights = `${folder}.weights.safetensors`;
    const files = [...policy.trainable].map(([name, tensor]): [string, FileTensor] => [
      name,
      { dtype: 'F32', shape: tensor.shape, data: () => tensor.data() },
    ]);
    try {
      await writing(weights, () => writeSafetensors(weights, Object.fromEntries(files), { format: 'pt' }));
      const { variant } = this.learning.config.model;
      return await exportModel({ base: policy.folder, component, weights, out: folder, dtype: type, variant });
    } finally {
      await rm(weights, { force: true });
    }
  }

  /** Frees its weights, and its device where loadModel() opened it. */
  close(): void {
    const { lora, policy, pipeline, closeDevice } = this.parts;
    lora?.dispose();
    (policy ?? pipeline).dispose();
    closeDevice?.();
  }
}

/**
 * Loads a model folder in diffusers' layout, an embedded model by its name, or what a run has learned, by the run's folder, its
 * name or a configuration. Throws a ModelFileError for files that can't be used, a UsageError for options that do not go together.
 */
export async function loadModel(source: string, options: ModelOptions = {}): Promise<Model> {
  const given = options.device;
  const device = given instanceof Device ? given : await openDevice({ device: given });
  const closeDevice = given instanceof Device ? undefined : () => device.close();
  try {
    return new Model({
      source,
      closeDevice,
      ...(await preparing(() => owning((own) => loadParts(device, source, options, own)))),
    });
  } catch (error) {
    closeDevice?.();
    throw error;
  }
}

async function loadParts(
  device: Device,
  source: string,
  options: ModelOptions,
  own: Own,
): Promise<Omit<Parts, 'source' | 'closeDevice'>> {
  const { adapter, step, base } = options;
  const folder = await findRun(source);
  if (folder === undefined && (step !== undefined || base))
    throw new UsageError(`${source} is no run: --step and --base are for runs`);
  if (options.variant !== undefined && (folder !== undefined || /\.ya?ml$/.test(source)))
    throw new UsageError(`${source} has a configuration: its model.variant says which files are read`);
  if (folder !== undefined && adapter !== undefined) throw new UsageError(`${folder} is a run: it has its own adapter`);
  if (folder !== undefined || /\.ya?ml$/.test(source)) {
    const config = await loadConfig(folder ?? source);
    const policy = own(await loadPolicy(device, config));
    const run = folder === undefined || base ? undefined : await RunFolder.open(folder);
    const checkpoint = run && (await readRunWeights(policy, run, config, step));
    const told = adapter === undefined ? [] : await initAdapter(policy, adapter);
    const usual = evaluationSampling(config);
    const warnings = [...policy.warnings, ...(checkpoint?.warnings ?? []), ...told];
    return { generator: policy, pipeline: policy.pipeline, policy, config, usual, rollout: config.sampler, warnings };
  }
  if (options.lora === undefined) {
    const warnings: string[] = [];
    const warn = (message: string): void => void warnings.push(message);
    const { weights: storage = 'f16', variant } = options;
    const pipeline = own(
      await loadPipeline(device, modelFolder(source), { storage, warn, ...(variant && { variant }) }),
    );
    const { component } = pipelineKinds[pipeline.kind];
    const lora =
      adapter === undefined ? undefined : own(await loadLora(adapter, pipeline.parameters, { component, warn }));
    return {
      ...(lora && { lora }),
      generator: frozenModel(pipeline, options),
      pipeline,
      policy: undefined,
      config: undefined,
      warnings,
      ...usualOf(pipeline),
    };
  }
  const config = configOf(source, options);
  const policy = own(await loadPolicy(device, config));
  const told = adapter === undefined ? [] : await initAdapter(policy, adapter);
  const warnings = [...policy.warnings, ...told];
  return { generator: policy, pipeline: policy.pipeline, policy, config, warnings, ...usualOf(policy.pipeline) };
}

/** The sections of a configuration that the options stand for. */
function configOf(
  path: string,
  { lora, weights, variant, resolution, checkpointing, trainable, seed = 42 }: ModelOptions,
): ModelConfig {
  const own = lora && { ...defaults.lora, ...lora };
  return {
    model: { path, weights: weights ?? (lora || trainable ? 'f16' : 'f32'), ...(variant && { variant }) },
    lora: own ? { ...own, alpha: own.alpha ?? 2 * own.rank } : null,
    sampler: { ...(resolution !== undefined && { resolution: sidesOf(resolution) }) },
    train: { ...(checkpointing !== undefined && { checkpointing }), ...(trainable && { weights: [...trainable] }) },
    seed,
  };
}

const sidesOf = (resolution: Resolution): number | [number, number] =>
  typeof resolution === 'number' ? resolution : [...resolution];

/** How a model of a kind draws where nothing else is said. */
function usualOf({ kind }: Pick<Pipeline, 'kind'>): Pick<Parts, 'usual' | 'rollout'> {
  const { guidance, step } = pipelineKinds[kind];
  return { usual: { steps: usualSteps, guidance }, rollout: { kind: step, noise: defaultNoise[step] } };
}
