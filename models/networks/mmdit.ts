/** The transformer of Stable Diffusion 3 and 3.5: image and text tokens in two streams that attend to each other (MMDiT-X). */
import { check } from '../../engine/errors.js';
import {
  add,
  attention,
  concat,
  embedding,
  type Linear,
  mergeHeads,
  type RMSNorm,
  reshape,
  silu,
  splitHeads,
  splitViews,
  type Tensor,
  tensor,
  transpose,
  unpatchify,
} from '../../engine/index.js';
import { sameShape } from '../../engine/tensor/shape.js';
import { AdaLayerNorm, AdaLayerNormZero, FeedForward, type Modulation, modulate } from '../blocks/ada_layer_norm.js';
import { type Block, type ForwardOptions, runBlock } from '../blocks/block.js';
import { linear, rmsNorm } from '../blocks/layers.js';
import type { Parameters } from '../blocks/parameters.js';
import { centredRows, PatchEmbedding } from '../blocks/patch_embedding.js';
import { TimestepEmbedding, timestepEmbedding } from '../blocks/timestep.js';
import { checkConfig } from '../files/config.js';

/** config.json of an SD3Transformer2DModel. Absent keys stand for diffusers' defaults, given here. */
export interface SD3TransformerConfig {
  /** Edge of the latents for which positions are one apart. Default 128. */
  readonly sample_size?: number;
  /** Edge of a patch in latents. Default 2. */
  readonly patch_size?: number;
  /** Channels of the latents. Default 16. */
  readonly in_channels?: number;
  /** Channels of the velocity. Default: in_channels. */
  readonly out_channels?: number | null;
  /** Default 18. */
  readonly num_layers?: number;
  /** Default 18. */
  readonly num_attention_heads?: number;
  /** Features of a head. Default 64. */
  readonly attention_head_dim?: number;
  /** Features of the text tokens. Default 4096. */
  readonly joint_attention_dim?: number;
  /** Features of the tokens inside: num_attention_heads times attention_head_dim. Default 1152. */
  readonly caption_projection_dim?: number;
  /** Features of the pooled text. Default 2048. */
  readonly pooled_projection_dim?: number;
  /** Edge of the table of positions, in patches. Default 96. */
  readonly pos_embed_max_size?: number;
  /** Blocks with a second attention, of the image to itself. Default none. */
  readonly dual_attention_layers?: readonly number[];
  /** 'rms_norm': queries and keys are normalised. Default null. */
  readonly qk_norm?: string | null;
}

const network = 'SD3Transformer2DModel';
const timestepWidth = 256;

/** The config with its defaults, checked. */
function resolve(config: SD3TransformerConfig) {
  const full = {
    patch: config.patch_size ?? 2,
    inChannels: config.in_channels ?? 16,
    outChannels: config.out_channels ?? config.in_channels ?? 16,
    layers: config.num_layers ?? 18,
    heads: config.num_attention_heads ?? 18,
    headDim: config.attention_head_dim ?? 64,
    features: config.caption_projection_dim ?? 1152,
    textFeatures: config.joint_attention_dim ?? 4096,
    pooledFeatures: config.pooled_projection_dim ?? 2048,
    maxSize: config.pos_embed_max_size ?? 96,
    dual: config.dual_attention_layers ?? [],
    norm: config.qk_norm === 'rms_norm',
  };
  for (const [key, found] of [
    ['patch_size', full.patch],
    ['in_channels', full.inChannels],
    ['out_channels', full.outChannels],
    ['num_layers', full.layers],
    ['num_attention_heads', full.heads],
    ['attention_head_dim', full.headDim],
    ['joint_attention_dim', full.textFeatures],
    ['pooled_projection_dim', full.pooledFeatures],
    ['pos_embed_max_size', full.maxSize],
  ] as const) {
    checkConfig(Number.isInteger(found) && found >= 1, network, key, found, 'a positive integer');
  }
  const width = full.heads * full.headDim;
  const product = `num_attention_heads x attention_head_dim = ${width}`;
  checkConfig(full.features === width, network, 'caption_projection_dim', full.features, product);
  const isBlock = (i: number): boolean => Number.isInteger(i) && i >= 0 && i < full.layers;
  checkConfig(full.dual.every(isBlock), network, 'dual_attention_layers', full.dual, `blocks below ${full.layers}`);
  const qkNorm = config.qk_norm ?? null;
  checkConfig(full.norm || qkNorm === null, network, 'qk_norm', qkNorm, '"rms_norm" or null');
  return full;
}

type Config = ReturnType<typeof resolve>;

/** Queries, keys and values of one stream. */
class Projections {
  private readonly heads: number;
  private readonly layers: readonly Linear[];
  private readonly norms: readonly RMSNorm[];

  /** `names` of the layers for query, key, value and of the norms for query and key. */
  constructor(
    parameters: Parameters,
    names: { readonly layers: readonly string[]; readonly norms: readonly string[] },
    { features, heads, headDim, norm }: Config,
  ) {
    this.heads = heads;
    this.layers = names.layers.map((name) => linear(parameters, name, features, features));
    this.norms = norm ? names.norms.map((name) => rmsNorm(parameters, name, headDim, 1e-6)) : [];
  }

  /** x [tokens, N, features] to three of [tokens, N, heads, headDim]. */
  forward(x: Tensor): Tensor[] {
    return this.layers.map((layer, i) => {
      const y = splitHeads(layer.forward(x), this.heads);
      return this.norms[i]?.forward(y) ?? y;
    });
  }
}

const imageNames = { layers: ['to_q', 'to_k', 'to_v'], norms: ['norm_q', 'norm_k'] };
const textNames = {
  layers: ['add_q_proj', 'add_k_proj', 'add_v_proj'],
  norms: ['norm_added_q', 'norm_added_k'],
};

/** Attention over [tokens, N, heads, headDim], its heads merged again. */
function attend([query, key, value]: readonly Tensor[]): Tensor {
  return mergeHeads(attention(query!, key!, value!, { layout: 'TBHC' }));
}

/** Tokens [tokens, N, features] of one stream as an attention takes them, and what its result is gated by and added to. */
interface Stream {
  readonly normed: Tensor;
  readonly gate: Tensor;
  readonly residual: Tensor;
}

const streamOf = (x: Tensor, modulation: Modulation): Stream => ({
  normed: modulate(x, modulation),
  gate: modulation.gate,
  residual: x,
});

/** Attention of all tokens, image before text, to all. */
class JointAttention {
  private readonly image: Projections;
  private readonly text: Projections;
  private readonly imageOut: Linear;
  private readonly textOut: Linear | null;

  constructor(parameters: Parameters, config: Config, last: boolean) {
    const { features } = config;
    this.image = new Projections(parameters, imageNames, config);
    this.text = new Projections(parameters, textNames, config);
    this.imageOut = linear(parameters, 'to_out.0', features, features);
    this.textOut = last ? null : linear(parameters, 'to_add_out', features, features);
  }

  /** Both streams with what attention to their normed tokens adds, by their gates; the last block leaves the text. */
  forward(image: Stream, text: Stream | Pick<Stream, 'normed'>): [image: Tensor, text?: Tensor] {
    const own = this.image.forward(image.normed);
    const other = this.text.forward(text.normed);
    const y = attend(own.map((x, i) => concat([x, other[i]!], 0)));
    const [toImage, toText] = splitViews(y, [image.normed.shape[0]!, text.normed.shape[0]!]) as [Tensor, Tensor];
    const x = this.imageOut.forward(toImage, { gate: image.gate, residual: image.residual });
    if (!this.textOut || !('gate' in text)) return [x];
    return [x, this.textOut.forward(toText, { gate: text.gate, residual: text.residual })];
  }
}

/** Attention of the image tokens among themselves. */
class ImageAttention {
  private readonly projections: Projections;
  private readonly out: Linear;

  constructor(parameters: Parameters, config: Config) {
    this.projections = new Projections(parameters, imageNames, config);
    this.out = linear(parameters, 'to_out.0', config.features, config.features);
  }

  forward({ normed, gate, residual }: Stream): Tensor {
    return this.out.forward(attend(this.projections.forward(normed)), { gate, residual });
  }
}

/** One block; the last one reads the text and leaves it. */
class JointBlock {
  private readonly norm: AdaLayerNormZero;
  private readonly attention: JointAttention;
  private readonly imageAttention: ImageAttention | null;
  private readonly feedForward: FeedForward;
  /** The text's own, but in the last block. */
  private readonly text: { readonly norm: AdaLayerNormZero; readonly feedForward: FeedForward } | null;
  private readonly lastTextNorm: AdaLayerNorm | null;

  constructor(parameters: Parameters, config: Config, index: number) {
    const { features } = config;
    const dual = config.dual.includes(index);
    const last = index === config.layers - 1;
    const textNorm = parameters.at('norm1_context');
    this.norm = new AdaLayerNormZero(parameters.at('norm1'), features, dual ? 3 : 2);
    this.attention = new JointAttention(parameters.at('attn'), config, last);
    this.imageAttention = dual ? new ImageAttention(parameters.at('attn2'), config) : null;
    this.feedForward = new FeedForward(parameters.at('ff'), features);
    this.lastTextNorm = last ? new AdaLayerNorm(textNorm, 'linear', features, 'scale, shift') : null;
    this.text = last
      ? null
      : {
          norm: new AdaLayerNormZero(textNorm, features, 2),
          feedForward: new FeedForward(parameters.at('ff_context'), features),
        };
  }

  /** Tokens [tokens, N, features] of both streams; `conditioning` is [N, features]. The last block gives no text. */
  forward(image: Tensor, text: Tensor, conditioning: Tensor): readonly Tensor[] {
    // A view of the block's own: its gradients add up in it first, in the same order with checkpoints and without.
    const own = reshape(conditioning, conditioning.shape);
    const [joint, mlp, among] = this.norm.forward(own);
    const [textJoint, textMlp] = this.text?.norm.forward(own) ?? [];
    const other = textJoint ? streamOf(text, textJoint) : { normed: this.lastTextNorm!.forward(text, own) };
    const [attended, textAttended] = this.attention.forward(streamOf(image, joint!), other);
    // Both attentions see the same image: the one that entered the block.
    const x = this.imageAttention?.forward({ ...streamOf(image, among!), residual: attended }) ?? attended;
    const y = this.feedForward.forward(x, mlp!);
    return this.text ? [y, this.text.feedForward.forward(textAttended!, textMlp!)] : [y];
  }
}

/** A block as a checkpoint takes it, with one result: image and text tokens in one sequence. */
class JoinedBlock implements Block {
  constructor(readonly block: JointBlock) {}

  forward(image: Tensor, text: Tensor, conditioning: Tensor): Tensor {
    return concat(this.block.forward(image, text, conditioning), 0);
  }
}

function runJointBlock(
  block: JointBlock,
  [image, text, conditioning]: readonly [Tensor, Tensor, Tensor],
  options: ForwardOptions,
): readonly Tensor[] {
  if (!options.checkpoint) return block.forward(image, text, conditioning);
  const joined = runBlock(new JoinedBlock(block), [image, text, conditioning], options);
  const [tokens, textTokens] = [image.shape[0]!, text.shape[0]!];
  return joined.shape[0] === tokens ? [joined] : splitViews(joined, [tokens, textTokens]);
}

/**
 * SD3Transformer2DModel (Esser et al. 2024; with dual attention layers and norms of queries and keys SD3.5-Medium). It
 * predicts the velocity noise - data of a rectified flow.
 */
export class SD3Transformer2DModel {
  private readonly config: Config;
  private readonly positions: Tensor;
  private readonly patches: PatchEmbedding;
  private readonly timestepEmbedder: TimestepEmbedding;
  private readonly textEmbedder: TimestepEmbedding;
  private readonly contextEmbedder: Linear;
  private readonly blocks: readonly JointBlock[];
  private readonly normOut: AdaLayerNorm;
  private readonly projOut: Linear;

  /** Declares the weights under diffusers' names. Throws for a config that asks for another network, by its key. */
  constructor(parameters: Parameters, config: SD3TransformerConfig) {
    this.config = resolve(config);
    const { patch, inChannels, outChannels, layers, features, textFeatures, pooledFeatures, maxSize } = this.config;
    const embedders = parameters.at('time_text_embed');
    const table = parameters.at('pos_embed');
    this.positions = table.tensor('pos_embed', [1, maxSize ** 2, features], { f32: true });
    this.patches = new PatchEmbedding(table, patch, inChannels, features);
    this.timestepEmbedder = new TimestepEmbedding(embedders.at('timestep_embedder'), timestepWidth, features);
    this.textEmbedder = new TimestepEmbedding(embedders.at('text_embedder'), pooledFeatures, features);
    this.contextEmbedder = linear(parameters, 'context_embedder', textFeatures, features);
    const blocks = parameters.at('transformer_blocks');
    this.blocks = Array.from({ length: layers }, (_, i) => new JointBlock(blocks.at(i), this.config, i));
    this.normOut = new AdaLayerNorm(parameters, 'norm_out.linear', features, 'scale, shift');
    this.projOut = linear(parameters, 'proj_out', features, patch * patch * outChannels);
  }

  /**
   * The velocity [N, out_channels, H, W] of latents [N, in_channels, H, W], H and W multiples of the patch. `timestep` is
   * [N] or [1], 1000 sigma with its fraction; `context` (the text encoders' hidden states) is [N, T, joint_attention_dim],
   * `pooled` (their pooled vectors) [N, pooled_projection_dim].
   */
  forward(latents: Tensor, timestep: Tensor, context: Tensor, pooled: Tensor, options: ForwardOptions = {}): Tensor {
    this.checkInputs(latents, timestep, context, pooled);
    const { patch, outChannels: channels } = this.config;
    const [, , height, width] = latents.dims(4);
    const sinusoids = timestepEmbedding(timestep, timestepWidth, { flipSinToCos: true, shift: 0 });
    const conditioning = silu(add(this.timestepEmbedder.forward(sinusoids), this.textEmbedder.forward(pooled)));
    let image = this.patches.forward(latents, this.positionsOf(height / patch, width / patch));
    let text = this.contextEmbedder.forward(transpose(context, 0, 1));
    for (const block of this.blocks) {
      const streams = runJointBlock(block, [image, text, conditioning], options);
      image = streams[0]!;
      text = streams[1] ?? text;
    }
    const patches = this.projOut.forward(this.normOut.forward(image, conditioning));
    return unpatchify(transpose(patches, 0, 1), { patch, channels, height, width });
  }

  /** The middle of the table, [rows * columns, features]: gathered, since the whole may be larger than a binding. */
  private positionsOf(rows: number, columns: number): Tensor {
    const { maxSize, features } = this.config;
    const ids = tensor(this.positions.device, centredRows(maxSize, rows, columns), [rows * columns], 'u32');
    return embedding(ids, reshape(this.positions, [maxSize ** 2, features]));
  }

  private checkInputs(latents: Tensor, timestep: Tensor, context: Tensor, pooled: Tensor): void {
    const { patch, inChannels, maxSize, textFeatures, pooledFeatures } = this.config;
    const [samples, channels, height, width] = latents.dims(4);
    const fits = (edge: number): boolean => edge % patch === 0 && edge <= maxSize * patch;
    check(
      channels === inChannels && fits(height) && fits(width),
      () =>
        `${network}: expected latents [N, ${inChannels}, H, W] with H and W multiples of ${patch} up to ` +
        `${maxSize * patch}, found ${latents}`,
    );
    check(
      timestep.rank === 1 && (timestep.size === samples || timestep.size === 1),
      () => `${network}: expected a timestep [${samples}] or [1], found ${timestep}`,
    );
    check(
      context.rank === 3 && context.shape[0] === samples && context.shape[2] === textFeatures,
      () => `${network}: expected hidden states [${samples}, T, ${textFeatures}], found ${context}`,
    );
    check(
      sameShape(pooled.shape, [samples, pooledFeatures]),
      () => `${network}: expected pooled vectors [${samples}, ${pooledFeatures}], found ${pooled}`,
    );
  }
}
