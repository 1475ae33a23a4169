/** UNet2DConditionModel: the network of Stable Diffusion 1.x and 2.x (Rombach et al. 2022), as in diffusers. */

import { check } from '../../engine/errors.js';
import {
  type Conv2d,
  concat,
  type GroupNorm,
  silu,
  type Tensor,
  upsampleConv2d,
  upsampleNearest,
} from '../../engine/index.js';
import { formatShape } from '../../engine/tensor/shape.js';
import { type ForwardOptions, runBlock } from '../blocks/block.js';
import { conv2d, groupNorm } from '../blocks/layers.js';
import type { Parameters } from '../blocks/parameters.js';
import { ResnetBlock } from '../blocks/resnet.js';
import { TimestepEmbedding, timestepEmbedding } from '../blocks/timestep.js';
import { Transformer2D } from '../blocks/transformer_block.js';
import { checkConfig, checkVariant, isCount, withDefaults } from '../files/config.js';

/** config.json of a UNet2DConditionModel. Absent keys and null stand for diffusers' defaults, given here. */
export interface UNet2DConditionConfig {
  /** Channels of the sample. Default 4. */
  readonly in_channels?: number | null;
  /** Channels of the prediction. Default 4. */
  readonly out_channels?: number | null;
  /** Channels of each level, from the finest. Default [320, 640, 1280, 1280]. */
  readonly block_out_channels?: readonly number[] | null;
  /** 'CrossAttnDownBlock2D' or 'DownBlock2D' for each level. Default: cross attention on all but the last. */
  readonly down_block_types?: readonly string[] | null;
  /** 'CrossAttnUpBlock2D' or 'UpBlock2D' for each level, from the coarsest. Default: cross attention on all but the first. */
  readonly up_block_types?: readonly string[] | null;
  /** Residual blocks of a level on the way down; one more on the way up. Default 2. */
  readonly layers_per_block?: number | null;
  /** Transformer blocks after each residual block. Default 1. */
  readonly transformer_layers_per_block?: number | null;
  /** The number of attention heads, in spite of its name: one for all levels, or one for each. Default 8. */
  readonly attention_head_dim?: number | readonly number[] | null;
  /** Features of the context. Default 1280. */
  readonly cross_attention_dim?: number | null;
  /** Whether proj_in and proj_out are matrices instead of 1x1 convolutions. Default false. */
  readonly use_linear_projection?: boolean | null;
  /** Groups of every group norm. Default 32. */
  readonly norm_num_groups?: number | null;
  /** Of the residual blocks' norms; those of the transformers have 1e-6. Default 1e-5. */
  readonly norm_eps?: number | null;
  /** Default true. */
  readonly flip_sin_to_cos?: boolean | null;
  /** Default 0. */
  readonly freq_shift?: number | null;
}

/** Keys of which one value is implemented, diffusers' default. */
const variant = {
  act_fn: 'silu',
  addition_embed_type: null,
  addition_time_embed_dim: null,
  attention_type: 'default',
  center_input_sample: false,
  class_embed_type: null,
  class_embeddings_concat: false,
  conv_in_kernel: 3,
  conv_out_kernel: 3,
  cross_attention_norm: null,
  downsample_padding: 1,
  dropout: 0,
  dual_cross_attention: false,
  encoder_hid_dim: null,
  encoder_hid_dim_type: null,
  mid_block_only_cross_attention: null,
  mid_block_scale_factor: 1,
  mid_block_type: 'UNetMidBlock2DCrossAttn',
  num_attention_heads: null,
  num_class_embeds: null,
  only_cross_attention: false,
  projection_class_embeddings_input_dim: null,
  resnet_out_scale_factor: 1,
  resnet_skip_time_act: false,
  resnet_time_scale_shift: 'default',
  reverse_transformer_layers_per_block: null,
  time_cond_proj_dim: null,
  time_embedding_act_fn: null,
  time_embedding_dim: null,
  time_embedding_type: 'positional',
  timestep_post_act: null,
} as const;

const network = 'UNet2DConditionModel';

/** The config with its defaults, checked. */
function resolve(config: UNet2DConditionConfig) {
  checkVariant(network, config, variant);
  const counts = withDefaults(network, config, {
    in_channels: 4,
    out_channels: 4,
    layers_per_block: 2,
    transformer_layers_per_block: 1,
    cross_attention_dim: 1280,
    norm_num_groups: 32,
  });
  const channels = config.block_out_channels ?? [320, 640, 1280, 1280];
  const groups = counts.norm_num_groups;
  const headsOf = config.attention_head_dim ?? 8;
  const perLevel = channels.every((n) => isCount(n) && n % groups === 0) && channels[0]! % 2 === 0;
  checkConfig(perLevel, network, 'block_out_channels', channels, `multiples of norm_num_groups ${groups}`);
  const heads = typeof headsOf === 'number' ? channels.map(() => headsOf) : headsOf;
  const fits = heads.length === channels.length && channels.every((n, i) => isCount(heads[i]!) && n % heads[i]! === 0);
  checkConfig(fits, network, 'attention_head_dim', headsOf, `numbers of heads that divide ${formatShape(channels)}`);
  const isCross = (key: 'down_block_types' | 'up_block_types', plain: string, cross: string, without: number) => {
    const types = config[key] ?? channels.map((_, i) => (i === without ? plain : cross));
    const known = types.length === channels.length && types.every((type) => type === plain || type === cross);
    checkConfig(known, network, key, types, `${channels.length} times ${cross} or ${plain}`);
    return types.map((type) => type === cross);
  };
  return {
    inChannels: counts.in_channels,
    outChannels: counts.out_channels,
    channels,
    layers: counts.layers_per_block,
    transformerLayers: counts.transformer_layers_per_block,
    contextFeatures: counts.cross_attention_dim,
    groups,
    heads,
    downCross: isCross('down_block_types', 'DownBlock2D', 'CrossAttnDownBlock2D', channels.length - 1),
    upCross: isCross('up_block_types', 'UpBlock2D', 'CrossAttnUpBlock2D', 0),
    linearProjection: config.use_linear_projection ?? false,
    eps: config.norm_eps ?? 1e-5,
    time: { flipSinToCos: config.flip_sin_to_cos ?? true, shift: config.freq_shift ?? 0 },
  };
}

/** A residual block and, in the levels with cross attention, the transformer after it. On the way up they read a skip. */
class UNetLayer {
  constructor(
    private readonly resnet: ResnetBlock,
    private readonly attention: Transformer2D | undefined,
  ) {}

  forward(x: Tensor, time: Tensor, context: Tensor | undefined, skip: Tensor | undefined): Tensor {
    const hidden = this.resnet.forward(skip ? concat([x, skip], 1) : x, time);
    return this.attention && context ? this.attention.forward(hidden, context) : hidden;
  }

  /** Only layers with attention read the context. */
  run(x: Tensor, time: Tensor, context: Tensor, skip: Tensor | undefined, options: ForwardOptions): Tensor {
    return runBlock(this, [x, time, this.attention && context, skip], options);
  }
}

/** The layers of one level, and the convolution after the change of resolution that follows them. */
interface Level {
  readonly layers: readonly UNetLayer[];
  readonly sampler: Conv2d | undefined;
}

/** Predicts the noise (or velocity) in a noisy latent image at a timestep, given a text encoder's hidden states. */
export class UNet2DConditionModel {
  private readonly config: ReturnType<typeof resolve>;
  private readonly convIn: Conv2d;
  private readonly timeEmbedding: TimestepEmbedding;
  private readonly down: readonly Level[];
  private readonly mid: readonly UNetLayer[];
  private readonly up: readonly Level[];
  private readonly normOut: GroupNorm;
  private readonly convOut: Conv2d;

  /** Declares the weights under diffusers' names. Throws for a config that asks for another network, by its key. */
  constructor(parameters: Parameters, config: UNet2DConditionConfig) {
    this.config = resolve(config);
    const { channels, heads, groups, eps, layers, transformerLayers, contextFeatures, linearProjection } = this.config;
    const { downCross, upCross, inChannels, outChannels } = this.config;
    const levels = channels.length;
    const timeFeatures = 4 * channels[0]!;
    const resnet = (scope: Parameters, j: number, from: number, to: number): ResnetBlock =>
      new ResnetBlock(scope.at('resnets').at(j), from, to, { groups, eps, timeFeatures });
    const attention = (scope: Parameters, j: number, level: number): Transformer2D =>
      new Transformer2D(scope.at('attentions').at(j), channels[level]!, {
        heads: heads[level]!,
        contextFeatures,
        groups,
        layers: transformerLayers,
        linearProjection,
      });

    this.convIn = conv2d(parameters, 'conv_in', inChannels, channels[0]!, 3, { padding: 1 });
    this.timeEmbedding = new TimestepEmbedding(parameters.at('time_embedding'), channels[0]!, timeFeatures);
    const skips = [channels[0]!]; // channels of each skip
    let width = channels[0]!; // channels of x
    this.down = channels.map((out, i) => {
      const scope = parameters.at('down_blocks').at(i);
      const made = Array.from({ length: layers }, (_, j) => {
        const layer = new UNetLayer(resnet(scope, j, width, out), downCross[i] ? attention(scope, j, i) : undefined);
        width = out;
        skips.push(out);
        return layer;
      });
      const options = { stride: 2, padding: 1 };
      const sampler = i < levels - 1 ? conv2d(scope, 'downsamplers.0.conv', out, out, 3, options) : undefined;
      if (sampler) skips.push(out);
      return { layers: made, sampler };
    });

    const mid = parameters.at('mid_block');
    this.mid = [
      new UNetLayer(resnet(mid, 0, width, width), attention(mid, 0, levels - 1)),
      new UNetLayer(resnet(mid, 1, width, width), undefined),
    ];

    this.up = channels.map((_, i) => {
      const level = levels - 1 - i;
      const out = channels[level]!;
      const scope = parameters.at('up_blocks').at(i);
      const made = Array.from({ length: layers + 1 }, (_, j) => {
        const layer = new UNetLayer(
          resnet(scope, j, width + skips.pop()!, out),
          upCross[i] ? attention(scope, j, level) : undefined,
        );
        width = out;
        return layer;
      });
      const sampler = level > 0 ? conv2d(scope, 'upsamplers.0.conv', out, out, 3, { padding: 1 }) : undefined;
      return { layers: made, sampler };
    });
    this.normOut = groupNorm(parameters, 'conv_norm_out', width, { groups, eps });
    this.convOut = conv2d(parameters, 'conv_out', width, outChannels, 3, { padding: 1 });
  }

  /**
   * `sample` is [N, in_channels, H, W] of any size, `timestep` [N] or [1] in u32 or f32, `context` (the text encoder's
   * hidden states) [N, T, cross_attention_dim]; the result is [N, out_channels, H, W]. Blocks of `checkpoint` are a
   * residual block with its transformer.
   */
  forward(sample: Tensor, timestep: Tensor, context: Tensor, options: ForwardOptions = {}): Tensor {
    const { inChannels, contextFeatures, channels } = this.config;
    const [samples, found] = sample.dims(4);
    check(found === inChannels, () => `${network}: expected a sample [N, ${inChannels}, H, W], found ${sample}`);
    check(
      timestep.rank === 1 && (timestep.size === samples || timestep.size === 1),
      () => `${network}: expected a timestep [${samples}] or [1], found ${timestep}`,
    );
    check(
      context.rank === 3 && context.shape[0] === samples && context.shape[2] === contextFeatures,
      () => `${network}: expected hidden states [${samples}, T, ${contextFeatures}], found ${context}`,
    );

    const sinusoids = timestepEmbedding(timestep, channels[0]!, this.config.time);
    const time = silu(this.timeEmbedding.forward(sinusoids));
    let x = this.convIn.forward(sample);
    const skips = [x];
    for (const { layers, sampler } of this.down) {
      for (const layer of layers) {
        x = layer.run(x, time, context, undefined, options);
        skips.push(x);
      }
      if (!sampler) continue;
      x = sampler.forward(x);
      skips.push(x);
    }
    for (const layer of this.mid) x = layer.run(x, time, context, undefined, options);
    for (const { layers, sampler } of this.up) {
      for (const layer of layers) x = layer.run(x, time, context, skips.pop()!, options);
      if (!sampler) continue;
      // To the size of the next skip: twice as large, or one less where the way down rounded up.
      const [, , height, width] = skips.at(-1)!.dims(4);
      const twice = height === 2 * x.shape[2]! && width === 2 * x.shape[3]!;
      x = twice
        ? upsampleConv2d(x, sampler.weight, sampler.bias)
        : sampler.forward(upsampleNearest(x, { size: [height, width] }));
    }
    return this.convOut.forward(this.normOut.forward(x, { silu: true }));
  }
}
