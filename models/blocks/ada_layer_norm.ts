/**
 * What the blocks of diffusion transformers share (Peebles and Xie 2023, adaLN-zero): a vector of the timestep and the
 * prompt shifts and scales the normalised tokens, and gates what a branch adds to them.
 *
 * Tokens are [tokens, N, features] here: what belongs to a sample repeats along the first axis, and sequences are joined
 * and split without copies.
 */
import { type Linear, layerNorm, reshape, splitViews, type Tensor } from '../../engine/index.js';
import { linear } from './layers.js';
import type { Parameters } from './parameters.js';

/** What a layer norm's result is shifted and scaled by, [N, features] each. */
export interface ShiftScale {
  readonly shift: Tensor;
  readonly scale: Tensor;
}

/** What modulates a branch: the shift and scale of its norm, and the gate [N, features] of its result. */
export interface Modulation extends ShiftScale {
  readonly gate: Tensor;
}

/** LN(x) (1 + scale) + shift, without weights; x is [tokens, N, features]. */
export const modulate = (x: Tensor, { shift, scale }: ShiftScale, eps = 1e-6): Tensor =>
  layerNorm(x, null, null, { eps, shift, scale });

/** Makes `count` vectors [N, features] of the conditioning [N, features], which has been through silu, by one layer. */
function vectors(layer: Linear, conditioning: Tensor, count: number): Tensor[] {
  const each = splitViews(layer.forward(conditioning, { parts: count }), Array<number>(count).fill(1));
  return each.map((vector) => reshape(vector, conditioning.shape));
}

/** Makes the modulations of a block's branches by one layer, `linear`, whose rows hold shift, scale and gate of each in turn. */
export class AdaLayerNormZero {
  private readonly linear: Linear;

  constructor(
    parameters: Parameters,
    features: number,
    private readonly branches: number,
  ) {
    this.linear = linear(parameters, 'linear', features, 3 * branches * features);
  }

  /** `conditioning` is [N, features], after the silu that all blocks share. */
  forward(conditioning: Tensor): Modulation[] {
    const all = vectors(this.linear, conditioning, 3 * this.branches);
    return Array.from({ length: this.branches }, (_, i) => {
      const [shift, scale, gate] = all.slice(3 * i, 3 * i + 3);
      return { shift: shift!, scale: scale!, gate: gate! };
    });
  }
}

/** A norm that one layer shifts and scales. Networks differ in the order in which the layer's rows hold the two. */
export class AdaLayerNorm {
  private readonly linear: Linear;

  constructor(
    parameters: Parameters,
    name: string,
    features: number,
    private readonly order: 'shift, scale' | 'scale, shift',
  ) {
    this.linear = linear(parameters, name, features, 2 * features);
  }

  /** x is [tokens, N, features], `conditioning` [N, features] after its silu. */
  forward(x: Tensor, conditioning: Tensor): Tensor {
    const [first, second] = vectors(this.linear, conditioning, 2);
    const [shift, scale] = this.order === 'shift, scale' ? [first!, second!] : [second!, first!];
    return modulate(x, { shift, scale });
  }
}

/** Two layers, `net.0.proj` and `net.2`, with gelu (by tanh) between them, where it is four times as wide. */
export class FeedForward {
  private readonly up: Linear;
  private readonly down: Linear;

  constructor(
    parameters: Parameters,
    features: number,
    private readonly eps = 1e-6,
  ) {
    this.up = linear(parameters, 'net.0.proj', features, 4 * features);
    this.down = linear(parameters, 'net.2', 4 * features, features);
  }

  /** Adds to x [tokens, N, features] the gated result for the modulated x. */
  forward(x: Tensor, modulation: Modulation): Tensor {
    const inner = this.up.forward(modulate(x, modulation, this.eps), { activation: 'geluTanh' });
    return this.down.forward(inner, { gate: modulation.gate, residual: x });
  }
}
