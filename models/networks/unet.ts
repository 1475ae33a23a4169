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
import {
  type ConfigOf,
  configTable,
  count,
  countOrCounts,
  counts,
  epsilon,
  flag,
  number,
  only,
  type ResolvedConfig,
  resolveConfig,
  words,
} from '../files/config.js';

const network = 'UNet2DConditionModel';

/** config.json of a UNet2DConditionModel. The defaults are those of diffusers. */
export const unetConfig = configTable({
  network,
  classes: [network],
  keys: {
    /** Edge of the latents, unless a caller wants another. */
    sample_size: countOrCounts(64),
    /** Channels of the sample. */
    in_channels: count(4, { required: true }),
    /** Channels of the prediction. */
    out_channels: count(4),
    /** Channels of each level, from the finest. */
    block_out_channels: counts([320, 640, 1280, 1280], { required: true }),
    /** 'CrossAttnDownBlock2D' or 'DownBlock2D' for each level. By default all but the last have cross attention. */
    down_block_types: words(),
    /** 'CrossAttnUpBlock2D' or 'UpBlock2D' for each level, from the coarsest. By default all but the first have cross attention. */
    up_block_types: words(),
    /** Residual blocks of a level on the way down; there is one more on the way up. */
    layers_per_block: count(2),
    /** Transformer blocks after each residual block. */
    transformer_layers_per_block: count(1),
    /** The number of attention heads, in spite of its name: one for all levels, or one for each. */
    attention_head_dim: countOrCounts(8),
    /** Features of the context. */
    cross_attention_dim: count(1280, { required: true }),
    /** Whether proj_in and proj_out are matrices instead of 1x1 convolutions. */
    use_linear_projection: flag(false),
    /** Groups of every group norm. */
    norm_num_groups: count(32),
    /** Added to the variance in the residual blocks' norms; those of the transformers have 1e-6. */
    norm_eps: epsilon(1e-5),
    /** Whether the timestep's cosines come before its sines. */
    flip_sin_to_cos: flag(true),
    /** Taken from half the width in the denominator of the timestep's frequencies. */
    freq_shift: number(0),
    act_fn: only('silu'),
    addition_embed_type: only(null),
    addition_time_embed_dim: only(null),
    attention_type: only('default'),
    center_input_sample: only(false),
    class_embed_type: only(null),
    class_embeddings_concat: only(false),
    conv_in_kernel: only(3),
    conv_out_kernel: only(3),
    cross_attention_norm: only(null),
    downsample_padding: only(1),
    dropout: only(0),
    dual_cross_attention: only(false),
    encoder_hid_dim: only(null),
    encoder_hid_dim_type: only(null),
    mid_block_only_cross_attention: only(null),
    mid_block_scale_factor: only(1),
    mid_block_type: only('UNetMidBlock2DCrossAttn'),
    num_attention_heads: only(null),
    num_class_embeds: only(null),
    only_cross_attention: only(false),
    projection_class_embeddings_input_dim: only(null),
    resnet_out_scale_factor: only(1),
    resnet_skip_time_act: only(false),
    resnet_time_scale_shift: only('default'),
    reverse_transformer_layers_per_block: only(null),
    time_cond_proj_dim: only(null),
    time_embedding_act_fn: only(null),
    time_embedding_dim: only(null),
    time_embedding_type: only('positional'),
    timestep_post_act: only(null),
  },
  *across(config) {
    const { block_out_channels: channels, norm_num_groups: groups, attention_head_dim: found } = config;
    if (channels.some((n) => n % groups !== 0) || channels[0]! % 2 !== 0)
      yield { key: 'block_out_channels', found: channels, expected: `multiples of norm_num_groups ${groups}` };
    const heads = headsOf(config);
    if (heads.length !== channels.length || channels.some((n, i) => n % heads[i]! !== 0))
      yield { key: 'attention_head_dim', found, expected: `numbers of heads that divide ${formatShape(channels)}` };
    for (const [key, { cross, plain }] of Object.entries(blockTypes)) {
      const types = config[key as keyof typeof blockTypes]; // its keys, by definition
      if (types && (types.length !== channels.length || types.some((type) => type !== cross && type !== plain)))
        yield { key, found: types, expected: `${channels.length} times ${cross} or ${plain}` };
    }
  },
});

/** A config as callers write it. */
export type UNet2DConditionConfig = ConfigOf<typeof unetConfig>;

type Config = ResolvedConfig<typeof unetConfig>;

/** Names of the levels with and without cross attention. */
const blockTypes = {
  down_block_types: { cross: 'CrossAttnDownBlock2D', plain: 'DownBlock2D' },
  up_block_types: { cross: 'CrossAttnUpBlock2D', plain: 'UpBlock2D' },
} as const;

/** The number of heads of each level. */
const headsOf = ({
  attention_head_dim: heads,
  block_out_channels: channels,
}: {
  readonly attention_head_dim: number | readonly number[];
  readonly block_out_channels: readonly number[];
}): readonly number[] => (typeof heads === 'number' ? channels.map(() => heads) : heads);

/** Whether each level has cross attention; by default all but `without`. */
const crossAttention = (config: Config, key: keyof typeof blockTypes, without: number): readonly boolean[] =>
  config[key]?.map((type) => type === blockTypes[key].cross) ?? config.block_out_channels.map((_, i) => i !== without);

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
  private readonly config: Config;
  private readonly convIn: Conv2d;
  private readonly timeEmbedding: TimestepEmbedding;
  private readonly down: readonly Level[];
  private readonly mid: readonly UNetLayer[];
  private readonly up: readonly Level[];
  private readonly normOut: GroupNorm;
  private readonly convOut: Conv2d;

  /** Declares the weights under diffusers' names. Throws for a config that asks for another network, by its key. */
  constructor(parameters: Parameters, config: UNet2DConditionConfig) {
    this.config = resolveConfig(unetConfig, config);
    const { block_out_channels: channels, norm_num_groups: groups, norm_eps: eps, layers_per_block } = this.config;
    const levels = channels.length;
    const heads = headsOf(this.config);
    const downCross = crossAttention(this.config, 'down_block_types', levels - 1);
    const upCross = crossAttention(this.config, 'up_block_types', 0);
    const timeFeatures = 4 * channels[0]!;
    const resnet = (scope: Parameters, j: number, from: number, to: number): ResnetBlock =>
      new ResnetBlock(scope.at('resnets').at(j), from, to, { groups, eps, timeFeatures });
    const attention = (scope: Parameters, j: number, level: number): Transformer2D =>
      new Transformer2D(scope.at('attentions').at(j), channels[level]!, {
        heads: heads[level]!,
        contextFeatures: this.config.cross_attention_dim,
        groups,
        layers: this.config.transformer_layers_per_block,
        linearProjection: this.config.use_linear_projection,
      });

    this.convIn = conv2d(parameters, 'conv_in', this.config.in_channels, channels[0]!, 3, { padding: 1 });
    this.timeEmbedding = new TimestepEmbedding(parameters.at('time_embedding'), channels[0]!, timeFeatures);
    const skips = [channels[0]!]; // channels of each skip
    let width = channels[0]!; // channels of x
    this.down = channels.map((out, i) => {
      const scope = parameters.at('down_blocks').at(i);
      const made = Array.from({ length: layers_per_block }, (_, j) => {
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
      const made = Array.from({ length: layers_per_block + 1 }, (_, j) => {
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
    this.convOut = conv2d(parameters, 'conv_out', width, this.config.out_channels, 3, { padding: 1 });
  }

  /**
   * `sample` is [N, in_channels, H, W] of any size, `timestep` [N] or [1] in u32 or f32, `context` (the text encoder's
   * hidden states) [N, T, cross_attention_dim]; the result is [N, out_channels, H, W]. What `recompute` takes together is a
   * residual block with its transformer.
   */
  forward(sample: Tensor, timestep: Tensor, context: Tensor, options: ForwardOptions = {}): Tensor {
    const { in_channels: inChannels, cross_attention_dim: contextFeatures } = this.config;
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

    const { block_out_channels: channels, flip_sin_to_cos: flipSinToCos, freq_shift: shift } = this.config;
    const sinusoids = timestepEmbedding(timestep, channels[0]!, { flipSinToCos, shift });
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
