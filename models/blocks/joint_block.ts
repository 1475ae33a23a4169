/** The blocks of Stable Diffusion 3's transformer: two streams of tokens, image and text, that attend to each other. */
import {
  attention,
  concat,
  type Linear,
  mergeHeads,
  type RMSNorm,
  reshape,
  splitHeads,
  splitViews,
  type Tensor,
} from '../../engine/index.js';
import { AdaLayerNorm, AdaLayerNormZero, FeedForward, type Modulation, modulate } from './ada_layer_norm.js';
import { type Block, type ForwardOptions, runBlock } from './block.js';
import { linear, rmsNorm } from './layers.js';
import type { Parameters } from './parameters.js';

/** What an attention of the block is made of. */
export interface StreamOptions {
  /** Features of a token: heads times headDim. */
  readonly features: number;
  readonly heads: number;
  readonly headDim: number;
  /** Whether queries and keys are normalised. */
  readonly qkNorm: boolean;
}

export interface JointBlockOptions extends StreamOptions {
  /** Whether the image attends to itself a second time, apart from the text. */
  readonly dual: boolean;
  /** The last block reads the text and leaves it. */
  readonly last: boolean;
}

/** Queries, keys and values of one stream. */
class Projections {
  private readonly heads: number;
  private readonly layers: readonly Linear[];
  private readonly norms: readonly RMSNorm[];

  /** `names` are those of the layers for query, key and value, and of the norms for query and key. */
  constructor(
    parameters: Parameters,
    names: { readonly layers: readonly string[]; readonly norms: readonly string[] },
    { features, heads, headDim, qkNorm }: StreamOptions,
  ) {
    this.heads = heads;
    this.layers = names.layers.map((name) => linear(parameters, name, features, features));
    this.norms = qkNorm ? names.norms.map((name) => rmsNorm(parameters, name, headDim, 1e-6)) : [];
  }

  /** Makes queries, keys and values [tokens, N, heads, headDim] of x [tokens, N, features]. */
  forward(x: Tensor): Tensor[] {
    return this.layers.map((layer, i) => {
      const y = splitHeads(layer.forward(x), this.heads);
      return this.norms[i]?.forward(y) ?? y;
    });
  }
}

const imageNames = { layers: ['to_q', 'to_k', 'to_v'], norms: ['norm_q', 'norm_k'] };
const textNames = {
  layers: ['add_q_proj', 'add_k_proj', 'add_v_proj'],
  norms: ['norm_added_q', 'norm_added_k'],
};

/** Attention over queries, keys and values [tokens, N, heads, headDim]; the result is [tokens, N, features]. */
function attend([query, key, value]: readonly Tensor[]): Tensor {
  return mergeHeads(attention(query!, key!, value!, { layout: 'TBHC' }));
}

/** Tokens [tokens, N, features] of one stream as an attention takes them, and what its result is gated by and added to. */
interface Stream {
  readonly normed: Tensor;
  readonly gate: Tensor;
  readonly residual: Tensor;
}

const streamOf = (x: Tensor, modulation: Modulation): Stream => ({
  normed: modulate(x, modulation),
  gate: modulation.gate,
  residual: x,
});

/** Attention of all tokens to all, in one sequence with the image before the text. */
class JointAttention {
  private readonly image: Projections;
  private readonly text: Projections;
  private readonly imageOut: Linear;
  private readonly textOut: Linear | null;

  constructor(parameters: Parameters, options: JointBlockOptions) {
    const { features, last } = options;
    this.image = new Projections(parameters, imageNames, options);
    this.text = new Projections(parameters, textNames, options);
    this.imageOut = linear(parameters, 'to_out.0', features, features);
    this.textOut = last ? null : linear(parameters, 'to_add_out', features, features);
  }

  /** Adds to both streams, by their gates, what attention finds for their normed tokens. The last block gives no text. */
  forward(image: Stream, text: Stream | Pick<Stream, 'normed'>): [image: Tensor, text?: Tensor] {
    const own = this.image.forward(image.normed);
    const other = this.text.forward(text.normed);
    const y = attend(own.map((x, i) => concat([x, other[i]!], 0)));
    const [toImage, toText] = splitViews(y, [image.normed.shape[0]!, text.normed.shape[0]!]) as [Tensor, Tensor];
    const x = this.imageOut.forward(toImage, { gate: image.gate, residual: image.residual });
    if (!this.textOut || !('gate' in text)) return [x];
    return [x, this.textOut.forward(toText, { gate: text.gate, residual: text.residual })];
  }
}

/** Attention of the image tokens among themselves. */
class SelfAttention {
  private readonly projections: Projections;
  private readonly out: Linear;

  constructor(parameters: Parameters, options: StreamOptions) {
    this.projections = new Projections(parameters, imageNames, options);
    this.out = linear(parameters, 'to_out.0', options.features, options.features);
  }

  forward({ normed, gate, residual }: Stream): Tensor {
    return this.out.forward(attend(this.projections.forward(normed)), { gate, residual });
  }
}

/** One block of the transformer. Its weights are declared under diffusers' names. */
export class JointBlock {
  private readonly norm: AdaLayerNormZero;
  private readonly attention: JointAttention;
  private readonly imageAttention: SelfAttention | null;
  private readonly feedForward: FeedForward;
  /** The text's own norm and feed-forward, which the last block lacks. */
  private readonly text: { readonly norm: AdaLayerNormZero; readonly feedForward: FeedForward } | null;
  private readonly lastTextNorm: AdaLayerNorm | null;

  constructor(parameters: Parameters, options: JointBlockOptions) {
    const { features, dual, last } = options;
    const textNorm = parameters.at('norm1_context');
    this.norm = new AdaLayerNormZero(parameters.at('norm1'), features, dual ? 3 : 2);
    this.attention = new JointAttention(parameters.at('attn'), options);
    this.imageAttention = dual ? new SelfAttention(parameters.at('attn2'), options) : null;
    this.feedForward = new FeedForward(parameters.at('ff'), features);
    this.lastTextNorm = last ? new AdaLayerNorm(textNorm, 'linear', features, 'scale, shift') : null;
    this.text = last
      ? null
      : {
          norm: new AdaLayerNormZero(textNorm, features, 2),
          feedForward: new FeedForward(parameters.at('ff_context'), features),
        };
  }

  /** Tokens [tokens, N, features] of both streams; `conditioning` is [N, features]. The last block gives no text. */
  forward(image: Tensor, text: Tensor, conditioning: Tensor): readonly Tensor[] {
    // The block takes a view of its own, in which its gradients add up first: in one order, whether it is recomputed or not.
    const own = reshape(conditioning, conditioning.shape);
    const [joint, mlp, among] = this.norm.forward(own);
    const [textJoint, textMlp] = this.text?.norm.forward(own) ?? [];
    const other = textJoint ? streamOf(text, textJoint) : { normed: this.lastTextNorm!.forward(text, own) };
    const [attended, textAttended] = this.attention.forward(streamOf(image, joint!), other);
    // Both attentions see the same image: the one that entered the block.
    const x = this.imageAttention?.forward({ ...streamOf(image, among!), residual: attended }) ?? attended;
    const y = this.feedForward.forward(x, mlp!);
    return this.text ? [y, this.text.feedForward.forward(textAttended!, textMlp!)] : [y];
  }
}

/** A block with the one result that a recomputed block has: image and text tokens in one sequence. */
class JoinedBlock implements Block {
  constructor(readonly block: JointBlock) {}

  forward(image: Tensor, text: Tensor, conditioning: Tensor): Tensor {
    return concat(this.block.forward(image, text, conditioning), 0);
  }
}

/** block.forward(image, text, conditioning), recomputed in backward() where asked. */
export function runJointBlock(
  block: JointBlock,
  [image, text, conditioning]: readonly [Tensor, Tensor, Tensor],
  options: ForwardOptions,
): readonly Tensor[] {
  if (!options.recompute) return block.forward(image, text, conditioning);
  const joined = runBlock(new JoinedBlock(block), [image, text, conditioning], options);
  const [tokens, textTokens] = [image.shape[0]!, text.shape[0]!];
  return joined.shape[0] === tokens ? [joined] : splitViews(joined, [tokens, textTokens]);
}
