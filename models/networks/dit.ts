/** DiTTransformer2DModel: the class-conditional diffusion transformer (Peebles and Xie 2023), as in diffusers. */
import { check } from '../../engine/errors.js';
import {
  Attention,
  add,
  type Embedding,
  type Linear,
  silu,
  type Tensor,
  tensor,
  transpose,
  unpatchify,
} from '../../engine/index.js';
import { sameShape } from '../../engine/tensor/shape.js';
import { AdaLayerNorm, AdaLayerNormZero, FeedForward, modulate } from '../blocks/ada_layer_norm.js';
import { type ForwardOptions, runBlock } from '../blocks/block.js';
import { embedding, linear } from '../blocks/layers.js';
import type { Parameters } from '../blocks/parameters.js';
import { PatchEmbedding, sinCosPositions } from '../blocks/patch_embedding.js';
import { TimestepEmbedding, timestepEmbedding } from '../blocks/timestep.js';
import {
  type ConfigOf,
  configTable,
  count,
  epsilon,
  flag,
  limits,
  only,
  type ResolvedConfig,
  resolveConfig,
} from '../files/config.js';

const network = 'DiTTransformer2DModel';
const timestepWidth = 256;

/** config.json of a DiTTransformer2DModel. The defaults are those of diffusers. */
export const ditConfig = configTable({
  network,
  classes: [network, 'Transformer2DModel'], // the latter in folders from before DiT had a class of its own
  keys: {
    /** Edge of the latents for which positions are one apart. */
    sample_size: count(32, { most: limits.edge }),
    /** Edge of a patch in latents. */
    patch_size: count(2),
    /** Channels of the latents. */
    in_channels: count(4),
    /** Channels of the prediction: twice in_channels where the variance is learned. By default in_channels. */
    out_channels: count(null),
    /** Transformer blocks. */
    num_layers: count(28, { required: true, most: limits.layers }),
    /** Heads of every attention. */
    num_attention_heads: count(16, { required: true }),
    /** Features of a head. */
    attention_head_dim: count(72),
    /** Whether queries, keys and values have biases. */
    attention_bias: flag(true),
    /** Number of classes; the label after the last means none. */
    num_embeds_ada_norm: count(1000),
    /** Added to the variance in the norm before the feed-forward; the others have 1e-6. */
    norm_eps: epsilon(1e-5),
    activation_fn: only('gelu-approximate'),
    cross_attention_dim: only(null),
    double_self_attention: only(false),
    norm_elementwise_affine: only(false),
    norm_type: only('ada_norm_zero'),
    num_vector_embeds: only(null),
    only_cross_attention: only(false),
  },
  *across({ num_attention_heads: heads, attention_head_dim: headDim }) {
    const expected = 'times num_attention_heads a multiple of 4';
    if ((heads * headDim) % 4 !== 0) yield { key: 'attention_head_dim', found: headDim, expected };
  },
});

/** A config as callers write it. */
export type DiTTransformerConfig = ConfigOf<typeof ditConfig>;

type Config = ResolvedConfig<typeof ditConfig>;

/** Features of a token. */
const widthOf = ({ num_attention_heads: heads, attention_head_dim: headDim }: Config): number => heads * headDim;

/** Channels of the prediction. */
const outChannelsOf = ({ out_channels, in_channels }: Config): number => out_channels ?? in_channels;

/** The sum of a timestep's and a class's embedding; every block has its own. */
class Conditioning {
  private readonly timestepEmbedder: TimestepEmbedding;
  private readonly classTable: Embedding;

  constructor(parameters: Parameters, config: Config) {
    const features = widthOf(config);
    this.timestepEmbedder = new TimestepEmbedding(parameters.at('timestep_embedder'), timestepWidth, features);
    const table = parameters.at('class_embedder');
    this.classTable = embedding(table, 'embedding_table', config.num_embeds_ada_norm + 1, features);
  }

  /** Gives [N, features] after the silu, which follows wherever the sum is used. */
  forward(sinusoids: Tensor, labels: Tensor): Tensor {
    return silu(add(this.timestepEmbedder.forward(sinusoids), this.classTable.forward(labels)));
  }
}

/** Attention and feed-forward, each modulated and gated. */
class DiTBlock {
  private readonly norm: AdaLayerNormZero;
  private readonly attention: Attention;
  private readonly feedForward: FeedForward;

  constructor(parameters: Parameters, config: Config) {
    const { num_attention_heads: heads, attention_bias: bias, norm_eps: eps } = config;
    const features = widthOf(config);
    const own = parameters.at('attn1');
    const [toQ, toK, toV] = ['to_q', 'to_k', 'to_v'].map((name) => linear(own, name, features, features, { bias }));
    const toOut = [linear(own, 'to_out.0', features, features)];
    this.norm = new AdaLayerNormZero(parameters.at('norm1'), features, 2);
    this.attention = new Attention(toQ!, toK!, toV!, toOut, heads);
    this.feedForward = new FeedForward(parameters.at('ff'), features, eps);
  }

  /** Tokens [tokens, N, features]; `conditioning` is [N, features]. */
  forward(x: Tensor, conditioning: Tensor): Tensor {
    const [attended, mlp] = this.norm.forward(conditioning);
    const { gate } = attended!;
    const y = this.attention.forward(modulate(x, attended!), { layout: 'TBHC', gate, residual: x });
    return this.feedForward.forward(y, mlp!);
  }
}

/** Predicts the noise in noisy latents of a class at a timestep and, with twice the channels, its variance. */
export class DiTTransformer2DModel {
  private readonly config: Config;
  private readonly patches: PatchEmbedding;
  private readonly conditionings: readonly Conditioning[];
  private readonly blocks: readonly DiTBlock[];
  private readonly normOut: AdaLayerNorm;
  private readonly projOut: Linear;

  /** Declares the weights under diffusers' names. Throws for a config that asks for another network, by its key. */
  constructor(parameters: Parameters, config: DiTTransformerConfig) {
    this.config = resolveConfig(ditConfig, config);
    const { patch_size: patch, in_channels: inChannels, num_layers: layers } = this.config;
    const features = widthOf(this.config);
    const scopes = Array.from({ length: layers }, (_, i) => parameters.at('transformer_blocks').at(i));
    this.patches = new PatchEmbedding(parameters.at('pos_embed'), patch, inChannels, features);
    this.conditionings = scopes.map((scope) => new Conditioning(scope.at('norm1.emb'), this.config));
    this.blocks = scopes.map((scope) => new DiTBlock(scope, this.config));
    this.normOut = new AdaLayerNorm(parameters, 'proj_out_1', features, 'shift, scale');
    this.projOut = linear(parameters, 'proj_out_2', features, patch * patch * outChannelsOf(this.config));
  }

  /**
   * The prediction [N, out_channels, S, S] for square latents [N, in_channels, S, S], S a multiple of the patch. `timestep`
   * is [N] or [1] in u32 or f32, `classLabels` u32 [N]; num_embeds_ada_norm is the label of no class.
   */
  forward(latents: Tensor, timestep: Tensor, classLabels: Tensor, options: ForwardOptions = {}): Tensor {
    this.checkInputs(latents, timestep, classLabels);
    const { patch_size: patch } = this.config;
    const channels = outChannelsOf(this.config);
    const size = latents.shape[3]!;
    const positions = this.positions(latents, size / patch);
    const sinusoids = timestepEmbedding(timestep, timestepWidth, { flipSinToCos: true, shift: 1 });
    const conditioning = this.conditionings.map((each) => each.forward(sinusoids, classLabels));
    let x = this.patches.forward(latents, positions);
    this.blocks.forEach((block, i) => {
      x = runBlock(block, [x, conditioning[i]!], options);
    });
    // The last norm has no embedder of its own: it shares the first block's.
    const patches = this.projOut.forward(this.normOut.forward(x, conditioning[0]!));
    return unpatchify(transpose(patches, 0, 1), { patch, channels, height: size, width: size });
  }

  /** The table of positions for size x size patches, which is in no file. */
  private positions({ device }: Tensor, size: number): Tensor {
    const { sample_size, patch_size } = this.config;
    const features = widthOf(this.config);
    const table = sinCosPositions(size, Math.floor(sample_size / patch_size), features);
    return tensor(device, table, [size * size, features]);
  }

  private checkInputs(latents: Tensor, timestep: Tensor, classLabels: Tensor): void {
    const { patch_size: patch, in_channels: inChannels } = this.config;
    const [samples, channels, height, width] = latents.dims(4);
    check(
      channels === inChannels && height === width && height % patch === 0,
      () => `${network}: expected latents [N, ${inChannels}, S, S] with S a multiple of ${patch}, found ${latents}`,
    );
    check(
      timestep.rank === 1 && (timestep.size === samples || timestep.size === 1),
      () => `${network}: expected a timestep [${samples}] or [1], found ${timestep}`,
    );
    check(
      sameShape(classLabels.shape, [samples]) && classLabels.dtype === 'u32',
      () => `${network}: expected class labels [${samples}] u32, found ${classLabels}`,
    );
  }
}
