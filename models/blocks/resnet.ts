/** The residual block of convolutions that UNet2DConditionModel and AutoencoderKL share. */
import { add, type Conv2d, type GroupNorm, type Linear, reshape, type Tensor } from '../../engine/index.js';
import { conv2d, groupNorm, linear } from './layers.js';
import type { Parameters } from './parameters.js';

export interface ResnetOptions {
  readonly groups: number;
  readonly eps: number;
  /** Width of the time embedding; without it the block has no `time_emb_proj`. */
  readonly timeFeatures?: number;
}

/**
 * shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))) + time_emb_proj(time)))): ResnetBlock2D. x is
 * [N, inChannels, H, W], the result [N, outChannels, H, W]; the shortcut is a 1x1 convolution where the channels differ.
 */
export class ResnetBlock {
  private readonly norm1: GroupNorm;
  private readonly conv1: Conv2d;
  private readonly timeProjection: Linear | undefined;
  private readonly norm2: GroupNorm;
  private readonly conv2: Conv2d;
  private readonly shortcut: Conv2d | undefined;

  constructor(
    parameters: Parameters,
    inChannels: number,
    outChannels: number,
    { timeFeatures, ...norm }: ResnetOptions,
  ) {
    this.norm1 = groupNorm(parameters, 'norm1', inChannels, norm);
    this.conv1 = conv2d(parameters, 'conv1', inChannels, outChannels, 3, { padding: 1 });
    if (timeFeatures !== undefined)
      this.timeProjection = linear(parameters, 'time_emb_proj', timeFeatures, outChannels);
    this.norm2 = groupNorm(parameters, 'norm2', outChannels, norm);
    this.conv2 = conv2d(parameters, 'conv2', outChannels, outChannels, 3, { padding: 1 });
    if (inChannels !== outChannels) this.shortcut = conv2d(parameters, 'conv_shortcut', inChannels, outChannels, 1);
  }

  /** `time` is silu of the time embedding, [N or 1, timeFeatures]. */
  forward(x: Tensor, time?: Tensor): Tensor {
    let hidden = this.conv1.forward(this.norm1.forward(x, { silu: true }));
    if (this.timeProjection && time) {
      const shift = this.timeProjection.forward(time);
      hidden = add(hidden, reshape(shift, [...shift.shape, 1, 1]));
    }
    const residual = this.shortcut?.forward(x) ?? x;
    return this.conv2.forward(this.norm2.forward(hidden, { silu: true }), { residual });
  }
}
