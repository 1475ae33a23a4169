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
import { type ForwardOptions, runBlock } from '../blocks/block.js';
import { conv2d, groupNorm } from '../blocks/layers.js';
import type { Parameters } from '../blocks/parameters.js';
import { ResnetBlock } from '../blocks/resnet.js';
import { TimestepEmbedding, timestepEmbedding } from '../blocks/timestep.js';
import { Transformer2D } from '../blocks/transformer_block.js';
import { resolveConfig } from '../files/config.js';
import {
  crossAttention,
  headsOf,
  type ResolvedUNetConfig,
  type UNet2DConditionConfig,
  unetConfig,
} from './unet_config.js';

const network = unetConfig.network;

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
  private readonly config: ResolvedUNetConfig;
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
