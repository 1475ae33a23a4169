/** Transformer2DModel: the attention that UNet2DConditionModel puts after its residual blocks. */
import {
  Attention,
  add,
  type GroupNorm,
  gelu,
  type LayerNorm,
  type Linear,
  linear as linearOp,
  mul,
  permute,
  reshape,
  split,
  type Tensor,
} from '../../engine/index.js';
import { groupNorm, layerNorm, linear } from './layers.js';
import type { Parameters } from './parameters.js';

/** Attention of x to itself or to a context. Its weights are `to_q`, `to_k`, `to_v`, which have no biases, and `to_out.0`. */
function attentionLayer(
  parameters: Parameters,
  features: number,
  heads: number,
  contextFeatures = features,
): Attention {
  return new Attention(
    linear(parameters, 'to_q', features, features, { bias: false }),
    linear(parameters, 'to_k', contextFeatures, features, { bias: false }),
    linear(parameters, 'to_v', contextFeatures, features, { bias: false }),
    [linear(parameters, 'to_out.0', features, features)],
    heads,
  );
}

/** net.2(a gelu(g)) with [a | g] = net.0.proj(x): gated linear units (Shazeer 2020), 4 features wide. x is [..., features]. */
export class GEGLUFeedForward {
  private readonly proj: Linear;
  private readonly out: Linear;
  private readonly width: number;

  constructor(parameters: Parameters, features: number) {
    this.width = 4 * features;
    this.proj = linear(parameters, 'net.0.proj', features, 2 * this.width);
    this.out = linear(parameters, 'net.2', this.width, features);
  }

  /** `residual` is added to the result. */
  forward(x: Tensor, { residual }: { readonly residual?: Tensor } = {}): Tensor {
    const [value, gate] = split(this.proj.forward(x), [this.width, this.width], -1);
    return this.out.forward(mul(value!, gelu(gate!)), { residual });
  }
}

/** x + attn1(norm1(x)), then + attn2(norm2(x), context), then + ff(norm3(x)); x is [N, tokens, features]. */
export class BasicTransformerBlock {
  private readonly norm1: LayerNorm;
  private readonly attn1: Attention;
  private readonly norm2: LayerNorm;
  private readonly attn2: Attention;
  private readonly norm3: LayerNorm;
  private readonly ff: GEGLUFeedForward;

  constructor(parameters: Parameters, features: number, heads: number, contextFeatures: number) {
    const norm = (name: string): LayerNorm => layerNorm(parameters, name, features, 1e-5);
    this.norm1 = norm('norm1');
    this.attn1 = attentionLayer(parameters.at('attn1'), features, heads);
    this.norm2 = norm('norm2');
    this.attn2 = attentionLayer(parameters.at('attn2'), features, heads, contextFeatures);
    this.norm3 = norm('norm3');
    this.ff = new GEGLUFeedForward(parameters.at('ff'), features);
  }

  /** `context` is [N, T, contextFeatures]. */
  forward(x: Tensor, context: Tensor): Tensor {
    const self = this.attn1.forward(this.norm1.forward(x), { residual: x });
    const cross = this.attn2.forward(this.norm2.forward(self), { context, residual: self });
    return this.ff.forward(this.norm3.forward(cross), { residual: cross });
  }
}

export interface Transformer2DOptions {
  readonly heads: number;
  readonly contextFeatures: number;
  readonly groups: number;
  /** Number of BasicTransformerBlocks. */
  readonly layers: number;
  /** Whether the file holds proj_in and proj_out as matrices [C, C], or as 1x1 convolutions [C, C, 1, 1]. */
  readonly linearProjection: boolean;
}

/** x + proj_out(blocks(proj_in(norm(x)))) for images x [N, channels, H, W]; the blocks see H W tokens, row by row. */
export class Transformer2D {
  private readonly norm: GroupNorm;
  private readonly projIn: Linear | PointwiseConv;
  private readonly blocks: readonly BasicTransformerBlock[];
  private readonly projOut: Linear | PointwiseConv;

  constructor(parameters: Parameters, channels: number, options: Transformer2DOptions) {
    const { heads, contextFeatures, groups, layers, linearProjection } = options;
    const projection = (name: string): Linear | PointwiseConv =>
      linearProjection
        ? linear(parameters, name, channels, channels)
        : new PointwiseConv(parameters, name, channels, channels);
    this.norm = groupNorm(parameters, 'norm', channels, { groups, eps: 1e-6 });
    this.projIn = projection('proj_in');
    this.blocks = Array.from(
      { length: layers },
      (_, i) => new BasicTransformerBlock(parameters.at('transformer_blocks').at(i), channels, heads, contextFeatures),
    );
    this.projOut = projection('proj_out');
  }

  /** `context` is [N, T, contextFeatures]. */
  forward(x: Tensor, context: Tensor): Tensor {
    let tokens = this.projIn.forward(toTokens(this.norm.forward(x)));
    for (const block of this.blocks) tokens = block.forward(tokens, context);
    return add(toImage(this.projOut.forward(tokens), x), x);
  }
}

/** A 1x1 convolution of tokens [N, tokens, inFeatures], as a product with its weight [out, in, 1, 1]. */
class PointwiseConv {
  private readonly weight: Tensor;
  private readonly bias: Tensor;

  constructor(parameters: Parameters, name: string, inFeatures: number, outFeatures: number) {
    this.weight = parameters.at(name).tensor('weight', [outFeatures, inFeatures, 1, 1]);
    this.bias = parameters.at(name).tensor('bias', [outFeatures]);
  }

  forward(tokens: Tensor): Tensor {
    return linearOp(tokens, reshape(this.weight, this.weight.shape.slice(0, 2)), this.bias);
  }
}

/** [N, C, H, W] to [N, H W, C]. */
export function toTokens(x: Tensor): Tensor {
  const [samples, channels, height, width] = x.dims(4);
  return permute(reshape(x, [samples, channels, height * width]), [0, 2, 1]);
}

/** [N, H W, C] to the shape of `image`, [N, C, H, W]. */
export function toImage(tokens: Tensor, image: Tensor): Tensor {
  return reshape(permute(tokens, [0, 2, 1]), image.shape);
}
