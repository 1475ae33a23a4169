/** CLIP's image encoder (Radford et al. 2021): configs and names of weights are transformers'. */
import { check } from '../../engine/errors.js';
import {
  add,
  type Conv2d,
  concat,
  expand,
  type LayerNorm,
  type Linear,
  reshape,
  slice,
  type Tensor,
  transpose,
} from '../../engine/index.js';
import type { ForwardOptions } from '../blocks/block.js';
import { conv2d, layerNorm, linear } from '../blocks/layers.js';
import type { Parameters } from '../blocks/parameters.js';
import { type ConfigOf, configTable, count, limits, type ResolvedConfig, resolveConfig } from '../files/config.js';
import { CLIPEncoder, type CLIPOutput, positionTable, towerKeys, towerProblems } from './clip_encoder.js';

/** config.json of an image encoder. The defaults are those of transformers. */
export const clipVisionConfig = configTable({
  network: 'CLIP',
  classes: ['CLIPVisionModelWithProjection'],
  keys: {
    ...towerKeys,
    /** Features of a patch. */
    hidden_size: count(768, { required: true }),
    /** Features within the feed-forward. */
    intermediate_size: count(3072),
    /** Heads of every attention. */
    num_attention_heads: count(12),
    /** Channels of the images. */
    num_channels: count(3),
    /** Edge of the images, in pixels. */
    image_size: count(224, { most: limits.edge }),
    /** Edge of a patch, in pixels. */
    patch_size: count(32),
  },
  across: towerProblems,
});

/** A config as callers write it. */
export type CLIPVisionConfig = ConfigOf<typeof clipVisionConfig>;

class VisionTransformer {
  private readonly classEmbedding: Tensor;
  private readonly patches: Conv2d;
  private readonly positions: Tensor;
  private readonly preNorm: LayerNorm;
  private readonly encoder: CLIPEncoder;
  private readonly postNorm: LayerNorm;
  private readonly size: number;

  constructor(parameters: Parameters, config: ResolvedConfig<typeof clipVisionConfig>) {
    const { hidden_size: width, image_size, patch_size: patch, num_channels, layer_norm_eps: eps } = config;
    this.size = image_size;
    this.classEmbedding = parameters.tensor('embeddings.class_embedding', [width]);
    const options = { bias: false, stride: patch };
    this.patches = conv2d(parameters, 'embeddings.patch_embedding', num_channels, width, patch, options);
    this.positions = positionTable(parameters, Math.floor(image_size / patch) ** 2 + 1, width);
    this.preNorm = layerNorm(parameters, 'pre_layrnorm', width, eps); // the spelling of the files
    this.encoder = new CLIPEncoder(parameters, config, { causal: false });
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

  /** Throws a CheckError for a config that asks for another network, by its key. */
  constructor(parameters: Parameters, config: CLIPVisionConfig) {
    const full = resolveConfig(clipVisionConfig, config);
    const { hidden_size, projection_dim } = full;
    this.vision = new VisionTransformer(parameters.at('vision_model'), full);
    this.projection = linear(parameters, 'visual_projection', hidden_size, projection_dim, { bias: false });
  }

  /** pixels are [B, channels, image_size, image_size], normalised; imageEmbeds is [B, projection_dim]. */
  forward(pixels: Tensor, options: ForwardOptions = {}): CLIPOutput & { readonly imageEmbeds: Tensor } {
    const { pooled, ...output } = this.vision.forward(pixels, options);
    return { ...output, imageEmbeds: this.projection.forward(pooled) };
  }
}
