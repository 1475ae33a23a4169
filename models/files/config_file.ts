/** config.json as a network can take it: of the right class, with the keys it needs, each of the right type. */
import { join } from 'node:path';
import type { CLIPConfig, CLIPTextConfig, CLIPVisionConfig } from '../networks/clip.js';
import type { DiTTransformerConfig } from '../networks/dit.js';
import type { SD3TransformerConfig } from '../networks/mmdit.js';
import type { T5Config } from '../networks/t5.js';
import type { UNet2DConditionConfig } from '../networks/unet.js';
import type { AutoencoderKLConfig } from '../networks/vae.js';
import { ModelFileError } from './errors.js';
import { readJson, shown } from './weight_files.js';

const isListOf = (is: (value: unknown) => boolean) => (value: unknown) => Array.isArray(value) && value.every(is);
const isString = (value: unknown): boolean => typeof value === 'string';
const isNumber = (value: unknown): boolean => typeof value === 'number';
const isObject = (value: unknown): boolean => typeof value === 'object' && !Array.isArray(value);

/** What a key may hold. */
const kinds = {
  'an integer': Number.isInteger,
  'a number': isNumber,
  'a boolean': (value: unknown): boolean => typeof value === 'boolean',
  'a string': isString,
  'a list of integers': isListOf(Number.isInteger),
  'a list of strings': isListOf(isString),
  'an integer or a list of integers': (value: unknown): boolean =>
    Number.isInteger(value) || isListOf(Number.isInteger)(value),
  'an object': isObject,
};

/** What a network asks of its config.json. */
export interface ConfigShape<C> {
  /** Names of its class in `_class_name` (diffusers) or `architectures` (transformers). */
  readonly classes: readonly string[];
  /** Keys that every folder has; for the others the library's defaults stand, also where they are null. */
  readonly required: readonly (keyof C & string)[];
  readonly keys: { readonly [K in keyof C]-?: keyof typeof kinds };
}

/**
 * Reads config.json of a component's folder. Keys that the network does not know stay unchecked. Throws a ModelFileError that
 * names the file and lists a wrong class, missing keys and values of a wrong type.
 */
export async function readConfig<C>(folder: string, { classes, required, keys }: ConfigShape<C>): Promise<C> {
  const path = join(folder, 'config.json');
  const config = await readJson(path);
  const problems: string[] = [];
  const key = config._class_name === undefined ? 'architectures' : '_class_name';
  const found = key === '_class_name' ? config._class_name : asList(config.architectures)[0];
  // A config without its class is one that was saved without its weights; the folder says what it is.
  const known = found === undefined || classes.includes(String(found).replace(/^Flax/, ''));
  if (!known) problems.push(`${key} is ${shown(found)}, expected ${classes.join(' or ')}`);
  for (const [name, kind] of Object.entries<keyof typeof kinds>(keys)) {
    const value = config[name] ?? undefined;
    if (value === undefined) {
      if ((required as readonly string[]).includes(name)) problems.push(`${name} is missing, expected ${kind}`);
    } else if (!kinds[kind](value)) problems.push(`${name} is ${shown(value)}, expected ${kind}`);
  }
  if (problems.length > 0) throw new ModelFileError(path, problems);
  return config as C; // as checked above
}

const asList = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

export const unetConfig: ConfigShape<UNet2DConditionConfig> = {
  classes: ['UNet2DConditionModel'],
  required: ['in_channels', 'block_out_channels', 'cross_attention_dim'],
  keys: {
    in_channels: 'an integer',
    out_channels: 'an integer',
    block_out_channels: 'a list of integers',
    down_block_types: 'a list of strings',
    up_block_types: 'a list of strings',
    layers_per_block: 'an integer',
    transformer_layers_per_block: 'an integer',
    attention_head_dim: 'an integer or a list of integers',
    cross_attention_dim: 'an integer',
    use_linear_projection: 'a boolean',
    norm_num_groups: 'an integer',
    norm_eps: 'a number',
    flip_sin_to_cos: 'a boolean',
    freq_shift: 'a number',
  },
};

export const vaeConfig: ConfigShape<AutoencoderKLConfig> = {
  classes: ['AutoencoderKL'],
  required: ['block_out_channels', 'latent_channels'],
  keys: {
    in_channels: 'an integer',
    out_channels: 'an integer',
    block_out_channels: 'a list of integers',
    down_block_types: 'a list of strings',
    up_block_types: 'a list of strings',
    layers_per_block: 'an integer',
    latent_channels: 'an integer',
    norm_num_groups: 'an integer',
    mid_block_add_attention: 'a boolean',
    use_quant_conv: 'a boolean',
    use_post_quant_conv: 'a boolean',
    scaling_factor: 'a number',
    shift_factor: 'a number',
  },
};

export const sd3Config: ConfigShape<SD3TransformerConfig> = {
  classes: ['SD3Transformer2DModel'],
  required: ['num_layers', 'num_attention_heads', 'joint_attention_dim'],
  keys: {
    sample_size: 'an integer',
    patch_size: 'an integer',
    in_channels: 'an integer',
    out_channels: 'an integer',
    num_layers: 'an integer',
    num_attention_heads: 'an integer',
    attention_head_dim: 'an integer',
    joint_attention_dim: 'an integer',
    pooled_projection_dim: 'an integer',
    caption_projection_dim: 'an integer',
    pos_embed_max_size: 'an integer',
    dual_attention_layers: 'a list of integers',
    qk_norm: 'a string',
  },
};

/** Folders of old have the name that DiT had in diffusers before it got a class. */
export const ditConfig: ConfigShape<DiTTransformerConfig> = {
  classes: ['DiTTransformer2DModel', 'Transformer2DModel'],
  required: ['num_layers', 'num_attention_heads'],
  keys: {
    sample_size: 'an integer',
    patch_size: 'an integer',
    in_channels: 'an integer',
    out_channels: 'an integer',
    num_layers: 'an integer',
    num_attention_heads: 'an integer',
    attention_head_dim: 'an integer',
    attention_bias: 'a boolean',
    num_embeds_ada_norm: 'an integer',
    norm_eps: 'a number',
  },
};

const clipTower = {
  num_hidden_layers: 'an integer',
  hidden_act: 'a string',
  layer_norm_eps: 'a number',
  projection_dim: 'an integer',
  hidden_size: 'an integer',
  intermediate_size: 'an integer',
  num_attention_heads: 'an integer',
} as const;

export const clipTextConfig: ConfigShape<CLIPTextConfig> = {
  classes: ['CLIPTextModel', 'CLIPTextModelWithProjection'],
  required: ['hidden_size', 'num_hidden_layers'],
  keys: {
    ...clipTower,
    vocab_size: 'an integer',
    max_position_embeddings: 'an integer',
    eos_token_id: 'an integer',
  },
};

export const clipVisionConfig: ConfigShape<CLIPVisionConfig> = {
  classes: ['CLIPVisionModelWithProjection'],
  required: ['hidden_size', 'num_hidden_layers'],
  keys: { ...clipTower, num_channels: 'an integer', image_size: 'an integer', patch_size: 'an integer' },
};

export const clipConfig: ConfigShape<CLIPConfig> = {
  classes: ['CLIPModel'],
  required: [],
  keys: {
    text_config: 'an object',
    text_config_dict: 'an object',
    vision_config: 'an object',
    vision_config_dict: 'an object',
    projection_dim: 'an integer',
  },
};

/** A whole T5 may serve. */
export const t5Config: ConfigShape<T5Config> = {
  classes: ['T5EncoderModel', 'T5ForConditionalGeneration'],
  required: ['d_model', 'num_layers', 'vocab_size'],
  keys: {
    vocab_size: 'an integer',
    d_model: 'an integer',
    d_kv: 'an integer',
    d_ff: 'an integer',
    num_layers: 'an integer',
    num_heads: 'an integer',
    relative_attention_num_buckets: 'an integer',
    relative_attention_max_distance: 'an integer',
    layer_norm_epsilon: 'a number',
    feed_forward_proj: 'a string',
  },
};
