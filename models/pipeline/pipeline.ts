/** Whole model folders in diffusers' layout: Stable Diffusion 1.x and 3.x, and class-conditional DiT. */
import { join } from 'node:path';
import { CheckError, OutOfMemoryError } from '../../engine/errors.js';
import { exists } from '../../engine/files.js';
import { concat, type Device, noGrad, pad, scope, slice, type Tensor, tensor, zeros } from '../../engine/index.js';
import type { ForwardOptions } from '../blocks/block.js';
import { Parameters } from '../blocks/parameters.js';
import type { ConfigKeys, ConfigTable, ResolvedKeys } from '../files/config.js';
import { readConfig } from '../files/config_file.js';
import { ModelFileError } from '../files/errors.js';
import { clipTextKeys, type KeyLayout, t5Keys, vaeKeys } from '../files/key_layouts.js';
import { readJson, shown } from '../files/weight_files.js';
import { loadWeights } from '../files/weights.js';
import {
  type CLIPTextConfig,
  CLIPTextModel,
  CLIPTextModelWithProjection,
  clipTextConfig,
  clipTokens,
} from '../networks/clip_text.js';
import { DiTTransformer2DModel, ditConfig } from '../networks/dit.js';
import { SD3Transformer2DModel, sd3Config } from '../networks/mmdit.js';
import { T5EncoderModel, t5Config, t5Tokens } from '../networks/t5.js';
import { UNet2DConditionModel, unetConfig } from '../networks/unet.js';
import { AutoencoderKL, vaeConfig } from '../networks/vae.js';
import { loadTokenizer, type Tokenizer } from '../text/tokenizer.js';

export type PipelineKind = 'sd1' | 'sd3' | 'dit';

/** A model folder in memory: from prompts to conditions, from latents to the network's prediction and to pictures. */
export interface Pipeline {
  readonly kind: PipelineKind;
  readonly device: Device;
  /** scheduler/scheduler_config.json. */
  readonly scheduler: Readonly<Record<string, unknown>>;
  readonly vae: AutoencoderKL;
  /** Channels of the latents, and their height and width unless asked otherwise. */
  readonly latentChannels: number;
  readonly latentSize: number;
  /** Weights of the network that denoises, by name. */
  readonly network: Parameters;
  /** The tensors that `predict` needs for these prompts, each [prompts, ...]. DiT's prompts are names or numbers of classes. */
  encode(prompts: readonly string[]): Tensor[];
  /** The end of a prompt that none of the text encoders reads, for it is too long; usually empty. */
  cut(prompt: string): string;
  /** The predicted noise (sd1, dit) or velocity (sd3) [N, C, H, W]. `timestep` is [N] or [1], from 0 to 1000. */
  predict(latents: Tensor, timestep: Tensor, condition: readonly Tensor[], options?: ForwardOptions): Tensor;
  /** Frees every weight. */
  dispose(): void;
}

export interface PipelineOptions {
  /** How frozen matrices are kept on the GPU. Default 'f16': half the memory, read packed. */
  readonly storage?: 'f32' | 'f16';
  /** Prefer files of this variant, such as `fp16`. */
  readonly variant?: string;
  /** Tokens of T5's part of the condition, zeros where the folder has no T5. Default: model_index.json's, or diffusers' 256. */
  readonly maxSequenceLength?: number;
}

const kinds: Readonly<Record<string, PipelineKind>> = {
  StableDiffusionPipeline: 'sd1',
  StableDiffusion3Pipeline: 'sd3',
  DiTPipeline: 'dit',
};

const needed: Readonly<Record<PipelineKind, readonly string[]>> = {
  sd1: ['scheduler', 'text_encoder', 'tokenizer', 'unet', 'vae'],
  sd3: ['scheduler', 'text_encoder', 'text_encoder_2', 'tokenizer', 'tokenizer_2', 'transformer', 'vae'],
  dit: ['scheduler', 'transformer', 'vae'],
};

/** A loaded network, its config and its weights. */
interface Part<C, N> {
  readonly network: N;
  readonly config: C;
  readonly parameters: Parameters;
}

/** The parts of one folder, loaded in turn; on an error everything loaded before is freed. */
class Loader {
  readonly loaded: Parameters[] = [];

  constructor(
    readonly device: Device,
    readonly folder: string,
    private readonly options: PipelineOptions,
  ) {}

  /** The network of a subfolder: config.json, then its weights. */
  async network<K extends ConfigKeys, N>(
    name: string,
    Network: new (parameters: Parameters, config: ResolvedKeys<K>) => N,
    shape: ConfigTable<K>,
    keys?: KeyLayout,
  ): Promise<Part<ResolvedKeys<K>, N>> {
    const config = await readConfig(join(this.folder, name), shape);
    const parameters = new Parameters({ storage: this.options.storage ?? 'f16' });
    this.loaded.push(parameters);
    let network: N;
    try {
      network = new Network(parameters, config);
    } catch (error) {
      if (!(error instanceof CheckError) || error instanceof OutOfMemoryError) throw error;
      throw new ModelFileError(join(this.folder, name, 'config.json'), [error.message], { cause: error });
    }
    const { variant } = this.options;
    await loadWeights(this.device, join(this.folder, name), parameters, {
      ...(variant && { variant }),
      ...(keys && { keys }),
    });
    return { network, config, parameters };
  }

  tokenizer(name: string): Promise<Tokenizer> {
    return loadTokenizer(join(this.folder, name));
  }

  dispose(): void {
    for (const parameters of this.loaded) parameters.dispose();
  }
}

/**
 * Loads a model folder. Which one it is stands in model_index.json; what it lacks is named together, before anything is
 * loaded. Throws a ModelFileError for files that are missing or do not fit; nothing stays in memory then.
 */
export async function loadPipeline(device: Device, folder: string, options: PipelineOptions = {}): Promise<Pipeline> {
  const indexPath = join(folder, 'model_index.json');
  const index = await readJson(indexPath);
  const kind = kinds[String(index._class_name)];
  if (!kind) {
    const known = Object.keys(kinds).join(', ');
    throw new ModelFileError(indexPath, [`_class_name is ${shown(index._class_name)}, expected one of ${known}`]);
  }
  const missing: string[] = [];
  for (const part of needed[kind]) if (!(await exists(join(folder, part)))) missing.push(`no folder ${part}/`);
  if (missing.length > 0) throw new ModelFileError(folder, missing);
  const loader = new Loader(device, folder, options);
  try {
    const scheduler = await readJson(join(folder, 'scheduler', 'scheduler_config.json'));
    const { network: vae } = await loader.network('vae', AutoencoderKL, vaeConfig, vaeKeys);
    const parts = await loadParts[kind](loader, { index, options });
    return { kind, device, scheduler, vae, ...parts, dispose: () => loader.dispose() };
  } catch (error) {
    loader.dispose();
    throw error;
  }
}

type Parts = Pick<Pipeline, 'latentChannels' | 'latentSize' | 'network' | 'encode' | 'cut' | 'predict'>;

interface LoadContext {
  readonly index: Readonly<Record<string, unknown>>;
  readonly options: PipelineOptions;
}

const loadParts: Readonly<Record<PipelineKind, (loader: Loader, context: LoadContext) => Promise<Parts>>> = {
  async sd1(loader) {
    const { device } = loader;
    const tokenizer = await loader.tokenizer('tokenizer');
    const text = await loader.network('text_encoder', CLIPTextModel, clipTextConfig, clipTextKeys);
    const { network, config, parameters } = await loader.network('unet', UNet2DConditionModel, unetConfig);
    return {
      latentChannels: config.in_channels ?? 4,
      latentSize: sizeOf((config as { sample_size?: unknown }).sample_size, 64),
      network: parameters,
      encode: (prompts) =>
        eager(device, () => {
          const { ids } = clipTokens(
            device,
            prompts.map((prompt) => tokenizer.encode(prompt).ids),
            text.config,
          );
          return [text.network.forward(ids).lastHiddenState];
        }),
      cut: (prompt) => tokenizer.encode(prompt).cut,
      predict: (latents, timestep, [context], forward) => network.forward(latents, timestep, context!, forward),
    };
  },

  async sd3(loader, { index, options }) {
    const { device } = loader;
    const { max_sequence_length: usual } = index;
    const length = options.maxSequenceLength ?? (typeof usual === 'number' ? usual : 256);
    const encoders: (Part<CLIPTextConfig, CLIPTextModelWithProjection> & { readonly tokenizer: Tokenizer })[] = [];
    for (const suffix of ['', '_2']) {
      const tokenizer = await loader.tokenizer(`tokenizer${suffix}`);
      const text = await loader.network(
        `text_encoder${suffix}`,
        CLIPTextModelWithProjection,
        clipTextConfig,
        clipTextKeys,
      );
      encoders.push({ tokenizer, ...text });
    }
    const third = index.text_encoder_3;
    const hasT5 = Array.isArray(third) && third[0] !== null && (await exists(join(loader.folder, 'text_encoder_3')));
    const t5 = hasT5
      ? {
          tokenizer: await loader.tokenizer('tokenizer_3'),
          ...(await loader.network('text_encoder_3', T5EncoderModel, t5Config, t5Keys)),
        }
      : undefined;
    const { network, config, parameters } = await loader.network('transformer', SD3Transformer2DModel, sd3Config);
    const width = config.joint_attention_dim ?? 4096;
    return {
      latentChannels: config.in_channels ?? 16,
      latentSize: sizeOf(config.sample_size, 128),
      network: parameters,
      encode: (prompts) =>
        eager(device, () => {
          // Both encoders side by side, the layer before the last, then T5's tokens below. (Esser et al. 2024, section 4.)
          const outputs = encoders.map(({ tokenizer, config: own, network: text }) =>
            text.forward(
              clipTokens(
                device,
                prompts.map((prompt) => tokenizer.encode(prompt).ids),
                own,
              ),
            ),
          );
          const hidden = concat(
            outputs.map(({ hiddenStates }) => hiddenStates.at(-2)!),
            2,
          );
          const padded = pad(hidden, [
            [0, 0],
            [0, 0],
            [0, width - hidden.shape[2]!],
          ]);
          const below = t5
            ? t5.network.forward(
                t5Tokens(
                  device,
                  prompts.map((prompt) => t5.tokenizer.encode(prompt, length).ids),
                  t5.config,
                ),
              )
            : length > 0 && zeros(device, [prompts.length, length, width]);
          return [
            below ? concat([padded, below], 1) : padded,
            concat(
              outputs.map(({ textEmbeds }) => textEmbeds),
              1,
            ),
          ];
        }),
      cut: (prompt) => {
        const cuts = encoders.map(({ tokenizer }) => tokenizer.encode(prompt).cut);
        if (t5) cuts.push(t5.tokenizer.encode(prompt, length).cut);
        return cuts.reduce((shortest, cut) => (cut.length < shortest.length ? cut : shortest));
      },
      predict: (latents, timestep, [context, pooled], forward) =>
        network.forward(latents, timestep, context!, pooled!, forward),
    };
  },

  async dit(loader, { index }) {
    const { device } = loader;
    const { network, config, parameters } = await loader.network('transformer', DiTTransformer2DModel, ditConfig);
    const names = (index.id2label ?? {}) as Readonly<Record<string, string>>; // "207": "golden retriever, ..."
    const nullClass = config.num_embeds_ada_norm ?? 1000;
    return {
      latentChannels: config.in_channels ?? 4,
      latentSize: sizeOf(config.sample_size, 32),
      network: parameters,
      encode: (prompts) => [
        tensor(
          device,
          prompts.map((prompt) => classOf(prompt, names, nullClass)),
          [prompts.length],
          'u32',
        ),
      ],
      cut: () => '',
      // The network predicts noise and variance; samplers with a variance of their own use the first half.
      predict: (latents, timestep, [labels], forward) =>
        slice(network.forward(latents, timestep, labels!, forward), 1, 0, latents.shape[1]!),
    };
  },
};

/** A config's sample_size: one number, or the first of two equal ones. */
function sizeOf(size: unknown, usual: number): number {
  const one = Array.isArray(size) ? size[0] : size;
  return typeof one === 'number' ? one : usual;
}

const eager = <R>(device: Device, body: () => R): R => scope(device, () => noGrad(body));

/** A class by its number or by one of its names; the empty prompt is the class of no condition. */
function classOf(prompt: string, names: Readonly<Record<string, string>>, nullClass: number): number {
  if (prompt === '') return nullClass;
  const number = Number(prompt);
  if (Number.isInteger(number) && number >= 0 && number < nullClass) return number;
  const found = Object.entries(names).find(([, text]) => text.split(/,\s*/).includes(prompt));
  if (found) return Number(found[0]);
  throw new CheckError(`class "${prompt}": expected a number below ${nullClass} or a name from model_index.json`);
}
