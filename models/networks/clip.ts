/**
 * CLIP (Radford et al. 2021): the text encoders of Stable Diffusion and the image-text models of its rewards. Configs and
 * weight names are those of transformers.
 */
import { check } from '../../engine/errors.js';
import {
  Attention,
  add,
  type Conv2d,
  concat,
  type Device,
  type Embedding,
  exp,
  expand,
  indexSelect,
  type LayerNorm,
  type Linear,
  matmul,
  mul,
  reshape,
  rsqrt,
  slice,
  square,
  sum,
  type Tensor,
  tensor,
  transpose,
} from '../../engine/index.js';
import { type ForwardOptions, runBlock } from '../blocks/block.js';
import { conv2d, embedding, layerNorm, linear } from '../blocks/layers.js';
import type { Parameters } from '../blocks/parameters.js';
import { checkConfig, withDefaults } from '../files/config.js';
import { uploadTokenIds } from '../text/token_ids.js';

const towerDefaults = {
  num_hidden_layers: 12,
  hidden_act: 'quick_gelu',
  layer_norm_eps: 1e-5,
  projection_dim: 512,
};

const textDefaults = {
  ...towerDefaults,
  vocab_size: 49408,
  hidden_size: 512,
  intermediate_size: 2048,
  num_attention_heads: 8,
  max_position_embeddings: 77,
};

const visionDefaults = {
  ...towerDefaults,
  hidden_size: 768,
  intermediate_size: 3072,
  num_attention_heads: 12,
  num_channels: 3,
  image_size: 224,
  patch_size: 32,
};

/** config.json of a text encoder; what is absent has transformers' default. */
export type CLIPTextConfig = Partial<typeof textDefaults> & { readonly eos_token_id?: number };

/** config.json of an image encoder. */
export type CLIPVisionConfig = Partial<typeof visionDefaults>;

/** config.json of a whole model. Old folders have the parts a second time under `*_config_dict`: these then count alone. */
export interface CLIPConfig {
  readonly text_config?: CLIPTextConfig;
  readonly text_config_dict?: CLIPTextConfig | null;
  readonly vision_config?: CLIPVisionConfig;
  readonly vision_config_dict?: CLIPVisionConfig | null;
  readonly projection_dim?: number;
}

export interface CLIPOutput {
  /** The embeddings and the output of each layer, [B, T, hidden_size], without the final norm. */
  readonly hiddenStates: readonly Tensor[];
  /** Text: the last of them after the final norm. Image: as it is. */
  readonly lastHiddenState: Tensor;
}

/** Tokenised texts on the GPU, made by clipTokens. */
export interface CLIPTokens {
  /** u32 [B, T]. */
  readonly ids: Tensor;
  /** u32 [B]: the row of each text's pooled token among all B T tokens. */
  readonly pooled: Tensor;
}

/**
 * The token whose state stands for the text: the first `eosTokenId`, or the first token where there is none. Configs of
 * old have eos_token_id 2, which is not the tokenizer's: there it is the first token of the largest id.
 */
export function pooledPosition(ids: readonly number[], eosTokenId: number): number {
  const eos = eosTokenId === 2 ? ids.reduce((largest, id) => Math.max(largest, id)) : eosTokenId;
  return Math.max(ids.indexOf(eos), 0);
}

/** Uploads texts of one length. Throws for ids outside the vocabulary and for more tokens than positions. */
export function clipTokens(device: Device, texts: readonly (readonly number[])[], config: CLIPTextConfig): CLIPTokens {
  const { max_position_embeddings: positions, vocab_size: vocabulary } = withDefaults('CLIP', config, textDefaults);
  const ids = uploadTokenIds(device, texts, { vocabulary, positions });
  const [, length] = ids.dims(2);
  const rows = texts.map((text, i) => i * length + pooledPosition(text, config.eos_token_id ?? 49407));
  return { ids, pooled: tensor(device, rows, [rows.length], 'u32') };
}

const activations = { quick_gelu: 'quickGelu', gelu: 'gelu', gelu_new: 'geluTanh' } as const;

type Activation = (typeof activations)[keyof typeof activations];

const isActivation = (name: string): name is keyof typeof activations => name in activations;

interface LayerConfig {
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_attention_heads: number;
  readonly num_hidden_layers: number;
  readonly hidden_act: string;
  readonly layer_norm_eps: number;
}

/** x + attention(norm1 x), then y + mlp(norm2 y). */
class EncoderLayer {
  private readonly norm1: LayerNorm;
  private readonly attention: Attention;
  private readonly norm2: LayerNorm;
  private readonly fc1: Linear;
  private readonly fc2: Linear;
  private readonly activation: Activation;

  constructor(
    parameters: Parameters,
    { hidden_size: width, intermediate_size: wide, num_attention_heads, hidden_act, layer_norm_eps: eps }: LayerConfig,
    private readonly causal: boolean,
  ) {
    const known = Object.keys(activations).join(', ');
    checkConfig(isActivation(hidden_act), 'CLIP', 'hidden_act', hidden_act, `one of ${known}`);
    const divides = width % num_attention_heads === 0;
    checkConfig(divides, 'CLIP', 'num_attention_heads', num_attention_heads, `a divisor of hidden_size ${width}`);
    const projection = (name: string): Linear => linear(parameters, `self_attn.${name}`, width, width);
    const [k, v, q] = [projection('k_proj'), projection('v_proj'), projection('q_proj')];
    this.attention = new Attention(q, k, v, [projection('out_proj')], num_attention_heads);
    this.norm1 = layerNorm(parameters, 'layer_norm1', width, eps);
    this.fc1 = linear(parameters, 'mlp.fc1', width, wide);
    this.fc2 = linear(parameters, 'mlp.fc2', wide, width);
    this.norm2 = layerNorm(parameters, 'layer_norm2', width, eps);
    this.activation = activations[hidden_act];
  }

  forward(x: Tensor): Tensor {
    const y = this.attention.forward(this.norm1.forward(x), { causal: this.causal, residual: x });
    return this.fc2.forward(this.fc1.forward(this.norm2.forward(y), { activation: this.activation }), { residual: y });
  }
}

/** `encoder.layers.N`. */
class Encoder {
  private readonly layers: readonly EncoderLayer[];

  constructor(parameters: Parameters, config: LayerConfig, { causal }: { readonly causal: boolean }) {
    const own = parameters.at('encoder.layers');
    this.layers = Array.from(
      { length: config.num_hidden_layers },
      (_, i) => new EncoderLayer(own.at(i), config, causal),
    );
  }

  /** x and the output of each layer. */
  forward(x: Tensor, options: ForwardOptions): Tensor[] {
    const states = [x];
    for (const layer of this.layers) states.push(runBlock(layer, [states.at(-1)!], options));
    return states;
  }
}

class TextTransformer {
  private readonly tokens: Embedding;
  private readonly positions: Tensor;
  private readonly encoder: Encoder;
  private readonly finalNorm: LayerNorm;

  constructor(parameters: Parameters, config: CLIPTextConfig) {
    const full = withDefaults('CLIP', config, textDefaults);
    const { hidden_size: width, vocab_size, max_position_embeddings, layer_norm_eps } = full;
    this.tokens = embedding(parameters, 'embeddings.token_embedding', vocab_size, width);
    this.positions = positionTable(parameters, max_position_embeddings, width);
    this.encoder = new Encoder(parameters, full, { causal: true });
    this.finalNorm = layerNorm(parameters, 'final_layer_norm', width, layer_norm_eps);
  }

  forward(ids: Tensor, options: ForwardOptions): CLIPOutput {
    const [, length] = ids.dims(2);
    const [positions] = this.positions.dims(2);
    check(length <= positions, `CLIP: the texts have ${length} tokens; the model has ${positions} positions`);
    const table = length === positions ? this.positions : slice(this.positions, 0, 0, length);
    const hiddenStates = this.encoder.forward(add(this.tokens.forward(ids), table), options);
    return { hiddenStates, lastHiddenState: this.finalNorm.forward(hiddenStates.at(-1)!) };
  }
}

/** Added as it is, so f32. */
const positionTable = (parameters: Parameters, positions: number, width: number): Tensor =>
  parameters.tensor('embeddings.position_embedding.weight', [positions, width], { f32: true });

/** The rows of x [B, T, width] at the pooled tokens: [B, width]. */
function pool(x: Tensor, pooled: Tensor): Tensor {
  const [batch, length, width] = x.dims(3);
  return indexSelect(reshape(x, [batch * length, width]), pooled);
}

/** The text encoder of Stable Diffusion 1. Weights under `text_model`. */
export class CLIPTextModel {
  private readonly text: TextTransformer;

  constructor(parameters: Parameters, config: CLIPTextConfig) {
    this.text = new TextTransformer(parameters.at('text_model'), config);
  }

  /** ids are u32 [B, T]. */
  forward(ids: Tensor, options: ForwardOptions = {}): CLIPOutput {
    return this.text.forward(ids, options);
  }
}

/** The text encoders of Stable Diffusion 3: the hidden states, and the pooled token in the space shared with images. */
export class CLIPTextModelWithProjection {
  private readonly text: TextTransformer;
  private readonly projection: Linear;

  constructor(parameters: Parameters, config: CLIPTextConfig) {
    const { hidden_size, projection_dim } = withDefaults('CLIP', config, textDefaults);
    this.text = new TextTransformer(parameters.at('text_model'), config);
    this.projection = linear(parameters, 'text_projection', hidden_size, projection_dim, { bias: false });
  }

  /** textEmbeds is [B, projection_dim]. */
  forward({ ids, pooled }: CLIPTokens, options: ForwardOptions = {}): CLIPOutput & { readonly textEmbeds: Tensor } {
    const output = this.text.forward(ids, options);
    return { ...output, textEmbeds: this.projection.forward(pool(output.lastHiddenState, pooled)) };
  }
}

class VisionTransformer {
  private readonly classEmbedding: Tensor;
  private readonly patches: Conv2d;
  private readonly positions: Tensor;
  private readonly preNorm: LayerNorm;
  private readonly encoder: Encoder;
  private readonly postNorm: LayerNorm;
  private readonly size: number;

  constructor(parameters: Parameters, config: CLIPVisionConfig) {
    const full = withDefaults('CLIP', config, visionDefaults);
    const { hidden_size: width, image_size, patch_size: patch, num_channels, layer_norm_eps: eps } = full;
    this.size = image_size;
    this.classEmbedding = parameters.tensor('embeddings.class_embedding', [width]);
    const options = { bias: false, stride: patch };
    this.patches = conv2d(parameters, 'embeddings.patch_embedding', num_channels, width, patch, options);
    this.positions = positionTable(parameters, Math.floor(image_size / patch) ** 2 + 1, width);
    this.preNorm = layerNorm(parameters, 'pre_layrnorm', width, eps); // the spelling of the files
    this.encoder = new Encoder(parameters, full, { causal: false });
    this.postNorm = layerNorm(parameters, 'post_layernorm', width, eps);
  }

  forward(pixels: Tensor, options: ForwardOptions): CLIPOutput & { readonly pooled: Tensor } {
    const [batch, , height, image] = pixels.dims(4);
    check(
      height === this.size && image === this.size,
      `CLIP: the images are ${height} x ${image}, the model reads ${this.size} x ${this.size}`,
    );
    const [width] = this.classEmbedding.dims(1);
    const first = expand(reshape(this.classEmbedding, [1, 1, width]), [batch, 1, width]);
    const grid = this.patches.forward(pixels); // [B, width, rows, columns]
    const patches = transpose(reshape(grid, [batch, width, -1]), 1, 2); // raster order
    const tokens = add(concat([first, patches], 1), this.positions); // [B, 1 + patches, width]
    const hiddenStates = this.encoder.forward(this.preNorm.forward(tokens), options);
    const lastHiddenState = hiddenStates.at(-1)!;
    const pooled = this.postNorm.forward(reshape(slice(lastHiddenState, 1, 0, 1), [batch, width]));
    return { hiddenStates, lastHiddenState, pooled };
  }
}

/** The image encoder with its projection. */
export class CLIPVisionModelWithProjection {
  private readonly vision: VisionTransformer;
  private readonly projection: Linear;

  constructor(parameters: Parameters, config: CLIPVisionConfig) {
    const { hidden_size, projection_dim } = withDefaults('CLIP', config, visionDefaults);
    this.vision = new VisionTransformer(parameters.at('vision_model'), config);
    this.projection = linear(parameters, 'visual_projection', hidden_size, projection_dim, { bias: false });
  }

  /** pixels are [B, channels, image_size, image_size], normalised; imageEmbeds is [B, projection_dim]. */
  forward(pixels: Tensor, options: ForwardOptions = {}): CLIPOutput & { readonly imageEmbeds: Tensor } {
    const { pooled, ...output } = this.vision.forward(pixels, options);
    return { ...output, imageEmbeds: this.projection.forward(pooled) };
  }
}

/** x / |x| over the last axis. */
const normalise = (x: Tensor): Tensor => mul(x, rsqrt(sum(square(x), -1, { keepDims: true })));

/** Text and images in one space. */
export class CLIPModel {
  /** That of the text encoder, for clipTokens. */
  readonly textConfig: CLIPTextConfig;
  /** The logarithm of the factor of the logits. */
  private readonly logitScale: Tensor;
  private readonly text: CLIPTextModelWithProjection;
  private readonly vision: CLIPVisionModelWithProjection;

  constructor(parameters: Parameters, config: CLIPConfig) {
    const projection_dim = config.projection_dim ?? 512; // those inside the parts do not count
    this.logitScale = parameters.tensor('logit_scale', []);
    this.textConfig = { ...(config.text_config_dict ?? config.text_config), projection_dim };
    const visionConfig = { ...(config.vision_config_dict ?? config.vision_config), projection_dim };
    this.text = new CLIPTextModelWithProjection(parameters, this.textConfig);
    this.vision = new CLIPVisionModelWithProjection(parameters, visionConfig);
  }

  /** The texts as unit vectors [B, projection_dim]. */
  textFeatures(tokens: CLIPTokens, options: ForwardOptions = {}): Tensor {
    return this.readTexts(tokens, options).features;
  }

  /** The same with the states of the tokens. */
  readTexts(tokens: CLIPTokens, options: ForwardOptions = {}): CLIPOutput & { readonly features: Tensor } {
    const { textEmbeds, ...output } = this.text.forward(tokens, options);
    return { ...output, features: normalise(textEmbeds) };
  }

  /** The images, [B, channels, image_size, image_size], normalised, as unit vectors [B, projection_dim]. */
  imageFeatures(pixels: Tensor, options: ForwardOptions = {}): Tensor {
    return normalise(this.vision.forward(pixels, options).imageEmbeds);
  }

  /** exp(logit_scale) times the cosine of each text [N, dim] with each image [M, dim]: [N, M]. */
  logits(textFeatures: Tensor, imageFeatures: Tensor): Tensor {
    return mul(matmul(textFeatures, imageFeatures, { transposeB: true }), exp(this.logitScale));
  }
}
