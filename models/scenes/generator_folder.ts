/** The folders of the embedded generators: configs, and what they take over from scenes-vae and scenes-clip. */
import { copyFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../../engine/files.js';
import { assign, type Device } from '../../engine/index.js';
import { sameShape } from '../../engine/tensor/shape.js';
import { initializeParameters } from '../blocks/initialize.js';
import { Parameters } from '../blocks/parameters.js';
import { sinCosPositions } from '../blocks/patch_embedding.js';
import { writeJson } from '../files/weight_files.js';
import { saveWeights } from '../files/weights.js';
import { SD3Transformer2DModel } from '../networks/mmdit.js';
import { UNet2DConditionModel } from '../networks/unet.js';
import { loadClip, scenesTextConfig } from './clip.js';

/** Generators that can be pretrained. */
export type GeneratorName = 'scenes-flow' | 'scenes-diffusion';

const textWidth = scenesTextConfig.hidden_size;
const side = 8; // of the latents

/** scenes-flow's network: 16 image tokens beside 7 of text, 0.006 GFLOP a call. */
const flowNetwork = {
  _class_name: 'SD3Transformer2DModel',
  attention_head_dim: 16,
  caption_projection_dim: 64,
  dual_attention_layers: [],
  in_channels: 4,
  joint_attention_dim: 2 * textWidth,
  num_attention_heads: 4,
  num_layers: 3,
  out_channels: 4,
  patch_size: 2,
  pooled_projection_dim: 2 * scenesTextConfig.projection_dim,
  pos_embed_max_size: side / 2,
  qk_norm: 'rms_norm',
  sample_size: side,
} as const;

/** scenes-diffusion's network: convolutions at 8 x 8, attention to the text at 4 x 4. */
const diffusionNetwork = {
  _class_name: 'UNet2DConditionModel',
  act_fn: 'silu',
  attention_head_dim: 4,
  block_out_channels: [32, 32],
  cross_attention_dim: textWidth,
  down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D'],
  up_block_types: ['CrossAttnUpBlock2D', 'UpBlock2D'],
  in_channels: 4,
  out_channels: 4,
  layers_per_block: 1,
  norm_num_groups: 8,
  sample_size: side,
} as const;

const flowScheduler = {
  _class_name: 'FlowMatchEulerDiscreteScheduler',
  num_train_timesteps: 1000,
  shift: 1,
} as const;

/** The noise levels of Stable Diffusion 1.4, sampled by DDIM. */
const diffusionScheduler = {
  _class_name: 'DDIMScheduler',
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  beta_start: 0.00085,
  clip_sample: false,
  num_train_timesteps: 1000,
  prediction_type: 'epsilon',
  set_alpha_to_one: false,
  steps_offset: 1,
  timestep_spacing: 'leading',
} as const;

/** What differs between the two. */
const layouts = {
  'scenes-flow': {
    part: 'transformer',
    network: flowNetwork,
    scheduler: flowScheduler,
    encoders: ['', '_2'],
    textClass: 'CLIPTextModelWithProjection',
    index: {
      _class_name: 'StableDiffusion3Pipeline',
      text_encoder_3: [null, null],
      tokenizer_3: [null, null],
      transformer: ['diffusers', 'SD3Transformer2DModel'],
      max_sequence_length: 0, // tokens of zeros in the place of T5's; diffusers takes it as an argument of the call
    },
  },
  'scenes-diffusion': {
    part: 'unet',
    network: diffusionNetwork,
    scheduler: diffusionScheduler,
    encoders: [''],
    textClass: 'CLIPTextModel',
    index: {
      _class_name: 'StableDiffusionPipeline',
      feature_extractor: [null, null],
      requires_safety_checker: false,
      safety_checker: [null, null],
      unet: ['diffusers', 'UNet2DConditionModel'],
    },
  },
} as const;

/** The subfolder of the network that denoises. */
export const networkFolder = (name: GeneratorName): string => layouts[name].part;

/** Copies the wanted files of a folder. */
export async function copyFolder(
  from: string,
  to: string,
  wanted: (file: string) => boolean = () => true,
): Promise<void> {
  await makeFolder(to);
  for (const file of await readdir(from)) if (wanted(file)) await copyFile(join(from, file), join(to, file));
}

const vaeFiles = ['config.json', 'diffusion_pytorch_model.safetensors'];
export const tokenizerFiles = ['vocab.json', 'merges.txt', 'tokenizer_config.json', 'special_tokens_map.json'];

/** The output and the ends of branches begin at zero, so that they add nothing at first (adaLN-Zero, Peebles and Xie 2023). */
const zeroNames: Readonly<Record<GeneratorName, RegExp>> = {
  'scenes-flow': /(norm1|norm1_context|norm_out)\.linear\.|^proj_out\./,
  'scenes-diffusion': /^conv_out\.|\.conv2\./,
};

/** The table of positions, which is given and not learned. */
export const positionTable = 'pos_embed.pos_embed';

/**
 * Lets keys begin as queries, so that a token attends at first to tokens of like content and place. (Mimetic
 * initialization: Trockman and Kolter 2023.) Without it scenes-flow draws patches that know nothing of each other for
 * thousands of steps.
 */
function attendToAlike({ all }: Parameters): void {
  const byName = new Map(all.map((parameter) => [parameter.name, parameter.tensor]));
  for (const [name, query] of byName) {
    const key = name.replace(/to_q\.weight$/, 'to_k.weight').replace('add_q_proj.weight', 'add_k_proj.weight');
    if (key !== name && byName.has(key) && sameShape(query.shape, byName.get(key)!.shape))
      assign(byName.get(key)!, query);
  }
}

/** Writes a generator's whole folder, its network with random weights; its other parts are those of the folders in `from`. */
export async function writeGeneratorFolder(
  device: Device,
  name: GeneratorName,
  folder: string,
  { seed, from }: { readonly seed: number; readonly from: string },
): Promise<void> {
  const { part, network, scheduler, encoders, textClass, index } = layouts[name];
  const clip = join(from, 'scenes-clip');
  await copyFolder(join(from, 'scenes-vae'), join(folder, 'vae'), (file) => vaeFiles.includes(file));
  for (const suffix of encoders) {
    await copyFolder(clip, join(folder, `tokenizer${suffix}`), (file) => tokenizerFiles.includes(file));
    await saveTextEncoder(device, clip, join(folder, `text_encoder${suffix}`), textClass);
  }
  for (const [subfolder, file, config] of [
    [part, 'config.json', network],
    ['scheduler', 'scheduler_config.json', scheduler],
  ] as const) {
    await makeFolder(join(folder, subfolder));
    await writeJson(join(folder, subfolder, file), config);
  }
  const parameters = new Parameters();
  if (name === 'scenes-flow') new SD3Transformer2DModel(parameters, flowNetwork);
  else new UNet2DConditionModel(parameters, diffusionNetwork);
  try {
    await initializeParameters(device, parameters, seed, { zero: zeroNames[name] });
    attendToAlike(parameters);
    const table = parameters.all.find((parameter) => parameter.name === positionTable);
    table?.tensor.write(sinCosPositions(side / 2, side / 2, flowNetwork.caption_projection_dim));
    await saveWeights(join(folder, part), parameters);
  } finally {
    parameters.dispose();
  }

  const parts = Object.fromEntries(
    encoders.flatMap((suffix) => [
      [`text_encoder${suffix}`, ['transformers', textClass]],
      [`tokenizer${suffix}`, ['transformers', 'CLIPTokenizer']],
    ]),
  );
  const common = { scheduler: ['diffusers', scheduler._class_name], vae: ['diffusers', 'AutoencoderKL'] };
  await writeJson(join(folder, 'model_index.json'), { ...index, ...parts, ...common });
}

/** The text half of a CLIP folder, as a folder of its own. */
async function saveTextEncoder(device: Device, clipFolder: string, folder: string, textClass: string): Promise<void> {
  const { parameters: clip } = await loadClip(device, clipFolder);
  const projected = textClass === 'CLIPTextModelWithProjection';
  const text = clip.all.filter(
    ({ name }) => name.startsWith('text_model.') || (projected && name.startsWith('text_projection.')),
  );
  try {
    await makeFolder(folder);
    const config = { architectures: [textClass], model_type: 'clip_text_model', ...scenesTextConfig };
    await writeJson(join(folder, 'config.json'), config);
    await saveWeights(folder, { all: text }, { dtype: 'F16', name: 'model' });
  } finally {
    clip.dispose();
  }
}
