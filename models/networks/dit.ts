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
import { checkConfig, checkVariant } from '../files/config.js';

/** config.json of a DiTTransformer2DModel (in older folders Transformer2DModel). Absent keys stand for diffusers' defaults, given here. */
export interface DiTTransformerConfig {
  /** Edge of the latents for which positions are one apart. Default 32. */
  readonly sample_size?: number;
  /** Edge of a patch in latents. Default 2. */
  readonly patch_size?: number;
  /** Channels of the latents. Default 4. */
  readonly in_channels?: number;
  /** Channels of the prediction: twice in_channels where the variance is learned. Default: in_channels. */
  readonly out_channels?: number | null;
  /** Default 28. */
  readonly num_layers?: number;
  /** Default 16. */
  readonly num_attention_heads?: number;
  /** Features of a head. Default 72. */
  readonly attention_head_dim?: number;
  /** Whether queries, keys and values have biases. Default true. */
  readonly attention_bias?: boolean;
  /** Number of classes; the label after the last means none. Default 1000. */
  readonly num_embeds_ada_norm?: number;
  /** Of the norm before the feed-forward; the others have 1e-6. Default 1e-5. */
  readonly norm_eps?: number;
}

/** Keys of which one value is implemented. */
const variant = {
  activation_fn: 'gelu-approximate',
  cross_attention_dim: null,
  double_self_attention: false,
  norm_elementwise_affine: false,
  norm_type: 'ada_norm_zero',
  num_vector_embeds: null,
  only_cross_attention: false,
} as const;

const network = 'DiTTransformer2DModel';
const timestepWidth = 256;

/** The config with its defaults, checked. */
function resolve(config: DiTTransformerConfig) {
  checkVariant(network, config, variant);
  const full = {
    sampleSize: config.sample_size ?? 32,
    patch: config.patch_size ?? 2,
    inChannels: config.in_channels ?? 4,
    outChannels: config.out_channels ?? config.in_channels ?? 4,
    layers: config.num_layers ?? 28,
    heads: config.num_attention_heads ?? 16,
    headDim: config.attention_head_dim ?? 72,
    bias: config.attention_bias ?? true,
    classes: config.num_embeds_ada_norm ?? 1000,
    eps: config.norm_eps ?? 1e-5,
  };
  for (const [key, found] of [
    ['sample_size', full.sampleSize],
    ['patch_size', full.patch],
    ['in_channels', full.inChannels],
    ['out_channels', full.outChannels],
    ['num_layers', full.layers],
    ['num_attention_heads', full.heads],
    ['attention_head_dim', full.headDim],
    ['num_embeds_ada_norm', full.classes],
  ] as const) {
    checkConfig(Number.isInteger(found) && found >= 1, network, key, found, 'a positive integer');
  }
  const features = full.heads * full.headDim;
  const product = 'times num_attention_heads a multiple of 4';
  checkConfig(features % 4 === 0, network, 'attention_head_dim', full.headDim, product);
  return { ...full, features };
}

type Config = ReturnType<typeof resolve>;

/** The sum of a timestep's and a class's embedding; every block has its own. */
class Conditioning {
  private readonly timestepEmbedder: TimestepEmbedding;
  private readonly classTable: Embedding;

  constructor(parameters: Parameters, { features, classes }: Config) {
    this.timestepEmbedder = new TimestepEmbedding(parameters.at('timestep_embedder'), timestepWidth, features);
    const table = parameters.at('class_embedder');
    this.classTable = embedding(table, 'embedding_table', classes + 1, features);
  }

  /** After the silu that follows wherever it is used: [N, features]. */
  forward(sinusoids: Tensor, labels: Tensor): Tensor {
    return silu(add(this.timestepEmbedder.forward(sinusoids), this.classTable.forward(labels)));
  }
}

/** Attention and feed-forward, each modulated and gated. */
class DiTBlock {
  private readonly norm: AdaLayerNormZero;
  private readonly attention: Attention;
  private readonly feedForward: FeedForward;

  constructor(parameters: Parameters, { features, heads, bias, eps }: Config) {
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
    this.config = resolve(config);
    const { patch, inChannels, outChannels, layers, features } = this.config;
    const scopes = Array.from({ length: layers }, (_, i) => parameters.at('transformer_blocks').at(i));
    this.patches = new PatchEmbedding(parameters.at('pos_embed'), patch, inChannels, features);
    this.conditionings = scopes.map((scope) => new Conditioning(scope.at('norm1.emb'), this.config));
    this.blocks = scopes.map((scope) => new DiTBlock(scope, this.config));
    this.normOut = new AdaLayerNorm(parameters, 'proj_out_1', features, 'shift, scale');
    this.projOut = linear(parameters, 'proj_out_2', features, patch * patch * outChannels);
  }

  /**
   * The prediction [N, out_channels, S, S] for square latents [N, in_channels, S, S], S a multiple of the patch. `timestep`
   * is [N] or [1] in u32 or f32, `classLabels` u32 [N]; num_embeds_ada_norm is the label of no class.
   */
  forward(latents: Tensor, timestep: Tensor, classLabels: Tensor, options: ForwardOptions = {}): Tensor {
    this.checkInputs(latents, timestep, classLabels);
    const { patch, outChannels: channels } = this.config;
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
    const { sampleSize, patch, features } = this.config;
    const table = sinCosPositions(size, Math.floor(sampleSize / patch), features);
    return tensor(device, table, [size * size, features]);
  }

  private checkInputs(latents: Tensor, timestep: Tensor, classLabels: Tensor): void {
    const { patch, inChannels } = this.config;
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
