/** The transformer of Stable Diffusion 3 and 3.5: image and text tokens in two streams that attend to each other (MMDiT-X). */
import { check } from '../../engine/errors.js';
import {
  add,
  embedding,
  type Linear,
  reshape,
  silu,
  type Tensor,
  tensor,
  transpose,
  unpatchify,
} from '../../engine/index.js';
import { sameShape } from '../../engine/tensor/shape.js';
import { AdaLayerNorm } from '../blocks/ada_layer_norm.js';
import type { ForwardOptions } from '../blocks/block.js';
import { JointBlock, runJointBlock } from '../blocks/joint_block.js';
import { linear } from '../blocks/layers.js';
import type { Parameters } from '../blocks/parameters.js';
import { centredRows, PatchEmbedding } from '../blocks/patch_embedding.js';
import { TimestepEmbedding, timestepEmbedding } from '../blocks/timestep.js';
import {
  type ConfigOf,
  configTable,
  count,
  indices,
  limits,
  type ResolvedConfig,
  resolveConfig,
  word,
} from '../files/config.js';

const network = 'SD3Transformer2DModel';
const timestepWidth = 256;

/** config.json of an SD3Transformer2DModel. The defaults are those of diffusers. */
export const sd3Config = configTable({
  network,
  classes: [network],
  keys: {
    /** Edge of the latents, unless a caller wants another. */
    sample_size: count(128, { most: limits.edge }),
    /** Edge of a patch in latents. */
    patch_size: count(2),
    /** Channels of the latents. */
    in_channels: count(16),
    /** Channels of the velocity. By default in_channels. */
    out_channels: count(null),
    /** Transformer blocks. */
    num_layers: count(18, { required: true, most: limits.layers }),
    /** Heads of every attention. */
    num_attention_heads: count(18, { required: true }),
    /** Features of a head. */
    attention_head_dim: count(64),
    /** Features of the text tokens. */
    joint_attention_dim: count(4096, { required: true }),
    /** Features of the pooled text. */
    pooled_projection_dim: count(2048),
    /** Features of the tokens inside: num_attention_heads times attention_head_dim. */
    caption_projection_dim: count(1152),
    /** Edge of the table of positions, in patches. */
    pos_embed_max_size: count(96, { most: limits.edge }),
    /** The blocks, counted from 0, with a second attention of the image to itself. */
    dual_attention_layers: indices(),
    /** 'rms_norm': queries and keys are normalised. */
    qk_norm: word(['rms_norm'], null),
  },
  *across(config) {
    const { num_attention_heads, attention_head_dim, caption_projection_dim, dual_attention_layers, num_layers } =
      config;
    const width = num_attention_heads * attention_head_dim;
    if (caption_projection_dim !== width) {
      const expected = `num_attention_heads x attention_head_dim = ${width}`;
      yield { key: 'caption_projection_dim', found: caption_projection_dim, expected };
    }
    if (dual_attention_layers.some((i) => i >= num_layers))
      yield { key: 'dual_attention_layers', found: dual_attention_layers, expected: `blocks below ${num_layers}` };
  },
});

/** A config as callers write it. */
export type SD3TransformerConfig = ConfigOf<typeof sd3Config>;

/**
 * SD3Transformer2DModel (Esser et al. 2024; with dual attention layers and norms of queries and keys SD3.5-Medium). It
 * predicts the velocity noise - data of a rectified flow.
 */
export class SD3Transformer2DModel {
  private readonly config: ResolvedConfig<typeof sd3Config>;
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
    this.config = resolveConfig(sd3Config, config);
    const { patch_size: patch, num_layers: layers, caption_projection_dim: features, qk_norm } = this.config;
    const { num_attention_heads: heads, attention_head_dim: headDim, dual_attention_layers } = this.config;
    const embedders = parameters.at('time_text_embed');
    const table = parameters.at('pos_embed');
    this.positions = table.tensor('pos_embed', [1, this.config.pos_embed_max_size ** 2, features], { f32: true });
    this.patches = new PatchEmbedding(table, patch, this.config.in_channels, features);
    this.timestepEmbedder = new TimestepEmbedding(embedders.at('timestep_embedder'), timestepWidth, features);
    this.textEmbedder = new TimestepEmbedding(
      embedders.at('text_embedder'),
      this.config.pooled_projection_dim,
      features,
    );
    this.contextEmbedder = linear(parameters, 'context_embedder', this.config.joint_attention_dim, features);
    const blocks = parameters.at('transformer_blocks');
    this.blocks = Array.from({ length: layers }, (_, i) => {
      const [dual, last] = [dual_attention_layers.includes(i), i === layers - 1];
      return new JointBlock(blocks.at(i), { features, heads, headDim, qkNorm: qk_norm === 'rms_norm', dual, last });
    });
    this.normOut = new AdaLayerNorm(parameters, 'norm_out.linear', features, 'scale, shift');
    this.projOut = linear(parameters, 'proj_out', features, patch * patch * this.outChannels);
  }

  private get outChannels(): number {
    return this.config.out_channels ?? this.config.in_channels;
  }

  /**
   * The velocity [N, out_channels, H, W] of latents [N, in_channels, H, W], H and W multiples of the patch. `timestep` is
   * [N] or [1], 1000 sigma with its fraction; `context` (the text encoders' hidden states) is [N, T, joint_attention_dim],
   * `pooled` (their pooled vectors) [N, pooled_projection_dim].
   */
  forward(latents: Tensor, timestep: Tensor, context: Tensor, pooled: Tensor, options: ForwardOptions = {}): Tensor {
    this.checkInputs(latents, timestep, context, pooled);
    const { patch_size: patch } = this.config;
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
    return unpatchify(transpose(patches, 0, 1), { patch, channels: this.outChannels, height, width });
  }

  /** The middle of the table, [rows * columns, features]: gathered, since the whole may be larger than a binding. */
  private positionsOf(rows: number, columns: number): Tensor {
    const { pos_embed_max_size: maxSize, caption_projection_dim: features } = this.config;
    const ids = tensor(this.positions.device, centredRows(maxSize, rows, columns), [rows * columns], 'u32');
    return embedding(ids, reshape(this.positions, [maxSize ** 2, features]));
  }

  private checkInputs(latents: Tensor, timestep: Tensor, context: Tensor, pooled: Tensor): void {
    const { patch_size: patch, in_channels: inChannels, pos_embed_max_size: maxSize } = this.config;
    const { joint_attention_dim: textFeatures, pooled_projection_dim: pooledFeatures } = this.config;
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
