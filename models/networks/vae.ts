/** AutoencoderKL: images to latents and back (Kingma and Welling 2014; Rombach et al. 2022), as in diffusers. */

import { check } from '../../engine/errors.js';
import {
  add,
  type Conv2d,
  clamp,
  exp,
  type GroupNorm,
  mul,
  split,
  type Tensor,
  upsampleConv2d,
} from '../../engine/index.js';
import { formatShape } from '../../engine/tensor/shape.js';
import { type ForwardOptions, runBlock } from '../blocks/block.js';
import { ImageAttention } from '../blocks/image_attention.js';
import { conv2d, groupNorm } from '../blocks/layers.js';
import type { Parameters } from '../blocks/parameters.js';
import { ResnetBlock } from '../blocks/resnet.js';
import {
  type ConfigOf,
  configTable,
  count,
  counts,
  flag,
  limits,
  number,
  only,
  type ResolvedConfig,
  resolveConfig,
  words,
} from '../files/config.js';

const network = 'AutoencoderKL';

/** config.json of an AutoencoderKL. The defaults are those of diffusers. */
export const vaeConfig = configTable({
  network,
  classes: [network],
  keys: {
    /** Channels of the image. */
    in_channels: count(3),
    /** Channels of the decoded image. */
    out_channels: count(3),
    /** Channels of each level, from the finest. */
    block_out_channels: counts([64], { required: true }),
    /** 'DownEncoderBlock2D' for each level. */
    down_block_types: words(),
    /** 'UpDecoderBlock2D' for each level. */
    up_block_types: words(),
    /** Residual blocks of a level of the encoder; the decoder has one more. */
    layers_per_block: count(1, { most: limits.layers }),
    /** Channels of the latents. */
    latent_channels: count(4, { required: true }),
    /** Groups of every group norm. */
    norm_num_groups: count(32),
    /** Whether the middle of encoder and decoder has attention. */
    mid_block_add_attention: flag(true),
    /** Whether a 1x1 convolution stands behind the encoder. */
    use_quant_conv: flag(true),
    /** Whether a 1x1 convolution stands in front of the decoder. */
    use_post_quant_conv: flag(true),
    /** What latents are multiplied by for the diffusion model. */
    scaling_factor: number(0.18215, {
      expected: 'a number other than 0, nor nearer to it than 1e-6',
      isWithin: (factor) => Math.abs(factor) >= 1e-6,
    }),
    /** What is subtracted from latents before. */
    shift_factor: number(0),
    act_fn: only('silu'),
    latents_mean: only(null),
    latents_std: only(null),
  },
  *across(config) {
    const { block_out_channels: channels, norm_num_groups: groups } = config;
    if (channels.length > limits.levels)
      yield { key: 'block_out_channels', found: channels, expected: `at most ${limits.levels} levels` };
    if (channels.some((n) => n % groups !== 0))
      yield { key: 'block_out_channels', found: channels, expected: `multiples of norm_num_groups ${groups}` };
    for (const [key, type] of [
      ['down_block_types', 'DownEncoderBlock2D'],
      ['up_block_types', 'UpDecoderBlock2D'],
    ] as const) {
      const types = config[key];
      if (types && (types.length !== channels.length || types.some((found) => found !== type)))
        yield { key, found: types, expected: `${channels.length} times ${type}` };
    }
  },
});

/** A config as callers write it. */
export type AutoencoderKLConfig = ConfigOf<typeof vaeConfig>;

type Config = ResolvedConfig<typeof vaeConfig>;

/** Makes the middle of encoder and decoder: a residual block, attention if there is any, and a residual block. */
function midBlocks(parameters: Parameters, channels: number, config: Config) {
  const norm = { groups: config.norm_num_groups, eps: 1e-6 };
  const resnet = (i: number): ResnetBlock => new ResnetBlock(parameters.at('resnets').at(i), channels, channels, norm);
  const attention = config.mid_block_add_attention
    ? [new ImageAttention(parameters.at('attentions.0'), channels, norm)]
    : [];
  return [resnet(0), ...attention, resnet(1)];
}

/** The residual blocks of one level, and the convolution at the change of resolution that follows them. */
interface Level {
  readonly layers: readonly ResnetBlock[];
  readonly sampler: Conv2d | undefined;
}

function levelOf(
  scope: Parameters,
  { from, to, layers, groups }: { from: number; to: number; layers: number; groups: number },
  sampler: Conv2d | undefined,
): Level {
  const resnet = (_: unknown, j: number): ResnetBlock =>
    new ResnetBlock(scope.at('resnets').at(j), j === 0 ? from : to, to, { groups, eps: 1e-6 });
  return { layers: Array.from({ length: layers }, resnet), sampler };
}

class Encoder {
  private readonly convIn: Conv2d;
  private readonly down: readonly Level[];
  private readonly mid: readonly (ResnetBlock | ImageAttention)[];
  private readonly normOut: GroupNorm;
  private readonly convOut: Conv2d;

  constructor(parameters: Parameters, config: Config) {
    const { block_out_channels: channels, layers_per_block: layers, norm_num_groups: groups } = config;
    const coarsest = channels.at(-1)!;
    this.convIn = conv2d(parameters, 'conv_in', config.in_channels, channels[0]!, 3, { padding: 1 });
    this.down = channels.map((to, i) => {
      const scope = parameters.at('down_blocks').at(i);
      // It is padded with zeros below and to the right only.
      const options = { stride: 2, padding: [0, 1, 0, 1] } as const;
      const sampler = i < channels.length - 1 ? conv2d(scope, 'downsamplers.0.conv', to, to, 3, options) : undefined;
      return levelOf(scope, { from: channels[Math.max(0, i - 1)]!, to, layers, groups }, sampler);
    });
    this.mid = midBlocks(parameters.at('mid_block'), coarsest, config);
    this.normOut = groupNorm(parameters, 'conv_norm_out', coarsest, { groups, eps: 1e-6 });
    this.convOut = conv2d(parameters, 'conv_out', coarsest, 2 * config.latent_channels, 3, { padding: 1 });
  }

  forward(image: Tensor, options: ForwardOptions): Tensor {
    let x = this.convIn.forward(image);
    for (const { layers, sampler } of this.down) {
      for (const layer of layers) x = runBlock(layer, [x], options);
      x = sampler?.forward(x) ?? x;
    }
    for (const block of this.mid) x = runBlock(block, [x], options);
    return this.convOut.forward(this.normOut.forward(x, { silu: true }));
  }
}

class Decoder {
  private readonly convIn: Conv2d;
  private readonly mid: readonly (ResnetBlock | ImageAttention)[];
  private readonly up: readonly Level[];
  private readonly normOut: GroupNorm;
  private readonly convOut: Conv2d;

  constructor(parameters: Parameters, config: Config) {
    const { norm_num_groups: groups, layers_per_block } = config;
    const channels = config.block_out_channels.toReversed();
    this.convIn = conv2d(parameters, 'conv_in', config.latent_channels, channels[0]!, 3, { padding: 1 });
    this.mid = midBlocks(parameters.at('mid_block'), channels[0]!, config);
    this.up = channels.map((to, i) => {
      const scope = parameters.at('up_blocks').at(i);
      const last = i === channels.length - 1;
      const sampler = last ? undefined : conv2d(scope, 'upsamplers.0.conv', to, to, 3, { padding: 1 });
      return levelOf(scope, { from: channels[Math.max(0, i - 1)]!, to, layers: layers_per_block + 1, groups }, sampler);
    });
    this.normOut = groupNorm(parameters, 'conv_norm_out', channels.at(-1)!, { groups, eps: 1e-6 });
    this.convOut = conv2d(parameters, 'conv_out', channels.at(-1)!, config.out_channels, 3, { padding: 1 });
  }

  forward(latents: Tensor, options: ForwardOptions): Tensor {
    let x = this.convIn.forward(latents);
    for (const block of this.mid) x = runBlock(block, [x], options);
    for (const { layers, sampler } of this.up) {
      for (const layer of layers) x = runBlock(layer, [x], options);
      if (sampler) x = upsampleConv2d(x, sampler.weight, sampler.bias);
    }
    return this.convOut.forward(this.normOut.forward(x, { silu: true }));
  }
}

/** Encodes images to the moments of a Gaussian over latents, and decodes latents. */
export class AutoencoderKL {
  private readonly config: Config;
  private readonly encoder: Encoder;
  private readonly decoder: Decoder;
  private readonly quantConv: Conv2d | undefined;
  private readonly postQuantConv: Conv2d | undefined;

  /** Declares the weights under diffusers' names. Throws for a config that asks for another network, by its key. */
  constructor(parameters: Parameters, config: AutoencoderKLConfig) {
    this.config = resolveConfig(vaeConfig, config);
    const { latent_channels: latentChannels, use_quant_conv, use_post_quant_conv } = this.config;
    const moments = 2 * latentChannels;
    this.encoder = new Encoder(parameters.at('encoder'), this.config);
    this.decoder = new Decoder(parameters.at('decoder'), this.config);
    this.quantConv = use_quant_conv ? conv2d(parameters, 'quant_conv', moments, moments, 1) : undefined;
    this.postQuantConv = use_post_quant_conv
      ? conv2d(parameters, 'post_quant_conv', latentChannels, latentChannels, 1)
      : undefined;
  }

  /** Pixels of the image for one pixel of the latents, in each direction: 8 in Stable Diffusion. */
  get factor(): number {
    return 2 ** (this.config.block_out_channels.length - 1);
  }

  /**
   * The moments [N, 2 latent_channels, H / factor, W / factor] of images [N, in_channels, H, W] with values in [-1, 1]:
   * see sampleLatents. Sides that are no multiples of the factor are rounded down, as in diffusers: what is left over at the
   * right and below is seen by the layers before the last alone.
   */
  encode(image: Tensor, options: ForwardOptions = {}): Tensor {
    const { in_channels: imageChannels } = this.config;
    const [, found, height, width] = image.dims(4);
    check(
      found === imageChannels && Math.min(height, width) >= this.factor,
      () =>
        `${network}: expected images [N, ${imageChannels}, H, W] with sides of at least ${this.factor}, found ${image}`,
    );
    const moments = this.encoder.forward(image, options);
    return this.quantConv?.forward(moments) ?? moments;
  }

  /** Images [N, out_channels, factor h, factor w], about in [-1, 1], of latents [N, latent_channels, h, w] without scaling. */
  decode(latents: Tensor, options: ForwardOptions = {}): Tensor {
    const { latent_channels: latentChannels } = this.config;
    check(
      latents.rank === 4 && latents.shape[1] === latentChannels,
      () => `${network}: expected latents [N, ${latentChannels}, h, w], found ${formatShape(latents.shape)}`,
    );
    return this.decoder.forward(this.postQuantConv?.forward(latents) ?? latents, options);
  }

  /** Latents as the diffusion model sees them: (z - shift_factor) scaling_factor. */
  scaled(z: Tensor): Tensor {
    const { scaling_factor: scale, shift_factor: shift } = this.config;
    return mul(shift === 0 ? z : add(z, -shift), scale);
  }

  /** The inverse of scaled(): z / scaling_factor + shift_factor, which decode() expects. */
  unscaled(latents: Tensor): Tensor {
    const { scaling_factor: scale, shift_factor: shift } = this.config;
    const z = mul(latents, 1 / scale);
    return shift === 0 ? z : add(z, shift);
  }
}

/** Mean and logarithm of the variance, clamped to [-30, 20], out of moments [N, 2 C, h, w]: [N, C, h, w] each. */
export function splitMoments(moments: Tensor): { readonly mean: Tensor; readonly logVariance: Tensor } {
  const channels = moments.dims(4)[1] / 2;
  const [mean, logVariance] = split(moments, [channels, channels], 1);
  return { mean: mean!, logVariance: clamp(logVariance!, -30, 20) };
}

/** A sample of the Gaussian that moments [N, 2 C, h, w] describe: mean + exp(logVariance / 2) noise; noise is [N, C, h, w]. */
export function sampleLatents(moments: Tensor, noise: Tensor): Tensor {
  const { mean, logVariance } = splitMoments(moments);
  return add(mean, mul(exp(mul(logVariance, 0.5)), noise));
}
