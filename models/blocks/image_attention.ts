/** The attention in the middle of AutoencoderKL. */
import {
  add,
  concat,
  type GroupNorm,
  type Linear,
  matmul,
  mul,
  recompute,
  slice,
  softmax,
  type Tensor,
} from '../../engine/index.js';
import { groupNorm, linear } from './layers.js';
import type { Parameters } from './parameters.js';
import { toImage, toTokens } from './transformer_block.js';

/** So many bytes of scores are in memory at a time: half of what every adapter can bind. */
const scoreBytes = 2 ** 26;

/** x + to_out.0(attention(group_norm(x))): one head as wide as the image has channels. x is [N, C, H, W]. */
export class ImageAttention {
  private readonly norm: GroupNorm;
  private readonly toQ: Linear;
  private readonly toK: Linear;
  private readonly toV: Linear;
  private readonly toOut: Linear;

  constructor(
    parameters: Parameters,
    private readonly channels: number,
    norm: { readonly groups: number; readonly eps: number },
    private readonly maxScoreBytes = scoreBytes,
  ) {
    this.norm = groupNorm(parameters, 'group_norm', channels, norm);
    this.toQ = linear(parameters, 'to_q', channels, channels);
    this.toK = linear(parameters, 'to_k', channels, channels);
    this.toV = linear(parameters, 'to_v', channels, channels);
    this.toOut = linear(parameters, 'to_out.0', channels, channels);
  }

  forward(x: Tensor): Tensor {
    const tokens = toTokens(this.norm.forward(x));
    const query = mul(this.toQ.forward(tokens), 1 / Math.sqrt(this.channels));
    const attended = this.attend(query, this.toK.forward(tokens), this.toV.forward(tokens));
    return add(toImage(this.toOut.forward(attended), x), x);
  }

  /**
   * softmax(query key^T) value for [N, T, C]. The op attention ends at heads of 160 features and these have 512, so the
   * scores lie in memory, for as many samples or queries at a time as `maxScoreBytes` holds.
   */
  private attend(query: Tensor, key: Tensor, value: Tensor): Tensor {
    const [samples, tokens] = query.dims(3);
    const rows = Math.max(1, Math.min(tokens, Math.floor(this.maxScoreBytes / (4 * tokens))));
    const together = Math.max(1, Math.min(samples, Math.floor(this.maxScoreBytes / (4 * tokens * rows))));
    if (rows === tokens && together === samples) return attention(query, key, value);
    const parts = startsOf(samples, together).map((n) => {
      const [q, k, v] = [query, key, value].map((x) => part(x, 0, n, together)) as [Tensor, Tensor, Tensor];
      const made = startsOf(tokens, rows).map((row) => recompute(attention, [part(q, 1, row, rows), k, v]));
      return concat(made, 1);
    });
    return concat(parts, 0);
  }
}

const attention = (query: Tensor, key: Tensor, value: Tensor): Tensor =>
  matmul(softmax(matmul(query, key, { transposeB: true })), value);

const startsOf = (size: number, step: number): number[] =>
  Array.from({ length: Math.ceil(size / step) }, (_, i) => i * step);

/** At most `size` of x along `axis`, from `start` on. */
const part = (x: Tensor, axis: number, start: number, size: number): Tensor =>
  slice(x, axis, start, Math.min(start + size, x.shape[axis]!));
