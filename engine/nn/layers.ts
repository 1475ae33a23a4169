/** Layers: a few tensors and the op that uses them. `create` draws PyTorch's default initial weights. */
import type { Device } from '../device/device.js';
import { check } from '../errors.js';
import { attention } from '../ops/attention.js';
import { full } from '../ops/create.js';
import { add, gelu, geluTanh, mul, quickGelu, relu, silu } from '../ops/elementwise.js';
import { addGated } from '../ops/gate.js';
import { embedding } from '../ops/index.js';
import { groupNorm, layerNorm, rmsNorm } from '../ops/norm.js';
import { conv2d } from '../ops/products/conv2d.js';
import { type LinearOptions, linear } from '../ops/products/linear.js';
import { normal, uniform } from '../ops/random.js';
import { reshape } from '../ops/shape.js';
import { owning } from '../owning.js';
import { scope } from '../tensor/scope.js';
import { type Shape, sizeOf } from '../tensor/shape.js';
import { type Tensor, tensor } from '../tensor/tensor.js';
import { disposeModule } from './module.js';

/**
 * Draws initial weights: the n-th tensor drawn from an initializer is a function of its seed and n alone, the same on
 * every device.
 */
export class Initializer {
  private drawn = 0;

  /** `seed` is an integer of 32 bits. */
  constructor(
    readonly device: Device,
    private readonly seed: number,
  ) {
    check(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32, `seed: expected an integer of 32 bits, found ${seed}`);
  }

  /** Uniform in [-bound, bound). */
  uniform(shape: Shape, bound: number): Tensor {
    return this.draw(shape, (keys, counter, flat) => add(mul(uniform(keys, counter, flat), 2 * bound), -bound));
  }

  /** Normal with mean 0 and the given standard deviation. */
  normal(shape: Shape, std: number): Tensor {
    return this.draw(shape, (keys, counter, flat) => mul(normal(keys, counter, flat), std));
  }

  constant(shape: Shape, value: number): Tensor {
    return full(this.device, shape, value);
  }

  private draw(shape: Shape, sample: (keys: Tensor, counter: Tensor, flat: Shape) => Tensor): Tensor {
    const stream = this.drawn++;
    return scope(this.device, () => {
      const keys = tensor(this.device, [this.seed, stream], [1, 2], 'u32');
      const counter = tensor(this.device, [0], [1], 'u32');
      return reshape(sample(keys, counter, [1, sizeOf(shape)]), shape);
    });
  }
}

const activations = { relu, silu, gelu, geluTanh, quickGelu };

interface BiasOption {
  readonly bias?: boolean;
}

/** What a linear layer adds to its product: scale (x down^T) up^T (Hu et al. 2021, LoRA). */
export interface LowRank {
  /** [rank, inFeatures]. */
  readonly down: Tensor;
  /** [outFeatures, rank]. */
  readonly up: Tensor;
  /** f32 []. */
  readonly scale: Tensor;
}

/** y = x weight^T + bias; weight is [outFeatures, inFeatures], x [..., inFeatures]. */
export class Linear {
  /** Added to the product, before the activation. */
  lora: LowRank | null = null;

  constructor(
    readonly weight: Tensor,
    readonly bias: Tensor | null,
  ) {}

  static create(init: Initializer, inFeatures: number, outFeatures: number, { bias = true }: BiasOption = {}): Linear {
    const bound = 1 / Math.sqrt(inFeatures);
    return owning((own) => {
      const weight = own(init.uniform([outFeatures, inFeatures], bound));
      return new Linear(weight, bias ? init.uniform([outFeatures], bound) : null);
    });
  }

  forward(x: Tensor, options: LinearOptions = {}): Tensor {
    const { weight, bias, lora } = this;
    if (!lora) return linear(x, weight, bias, options);
    const { activation, residual = null, gate = null, parts } = options;
    const inner = mul(linear(x, lora.down), lora.scale); // [..., rank]
    const adds = !activation && !gate;
    const product = linear(x, weight, bias, { residual: adds ? residual : null, parts });
    const y = linear(inner, lora.up, null, { residual: product, parts });
    if (adds) return y;
    if (gate) return residual ? addGated(residual, gate, y) : mul(y, gate);
    const activated = activations[activation!](y);
    return residual ? add(activated, residual) : activated;
  }
}

/** Options of the layer Conv2d. */
export interface Conv2dLayerOptions extends BiasOption {
  readonly stride?: number;
  /** One number, or [top, bottom, left, right]. */
  readonly padding?: number | readonly [number, number, number, number];
}

/** Convolution of images [N, inChannels, H, W]; weight is [outChannels, inChannels, kernel, kernel]. */
export class Conv2d {
  constructor(
    readonly weight: Tensor,
    readonly bias: Tensor | null,
    private readonly options: Omit<Conv2dLayerOptions, 'bias'> = {},
  ) {}

  static create(
    init: Initializer,
    inChannels: number,
    outChannels: number,
    kernel: number,
    options: Conv2dLayerOptions = {},
  ): Conv2d {
    const { bias = true, ...rest } = options;
    const bound = 1 / Math.sqrt(inChannels * kernel * kernel);
    return owning((own) => {
      const weight = own(init.uniform([outChannels, inChannels, kernel, kernel], bound));
      return new Conv2d(weight, bias ? init.uniform([outChannels], bound) : null, rest);
    });
  }

  /** `residual`, of the output's shape, is added to it. */
  forward(x: Tensor, { residual }: { readonly residual?: Tensor | null } = {}): Tensor {
    return conv2d(x, this.weight, this.bias, { ...this.options, residual: residual ?? null });
  }
}

/** Group normalisation of [N, channels, ...], with SiLU fused where asked. */
export class GroupNorm {
  constructor(
    readonly weight: Tensor,
    readonly bias: Tensor,
    private readonly options: { readonly groups: number; readonly eps?: number },
  ) {}

  static create(
    init: Initializer,
    channels: number,
    options: { readonly groups: number; readonly eps?: number },
  ): GroupNorm {
    return owning((own) => new GroupNorm(own(init.constant([channels], 1)), init.constant([channels], 0), options));
  }

  forward(x: Tensor, { silu = false }: { readonly silu?: boolean } = {}): Tensor {
    return groupNorm(x, this.weight, this.bias, { ...this.options, silu });
  }
}

/** Layer normalisation over the last axis; without affine it has no parameters, as in DiT's modulated blocks. */
export class LayerNorm {
  constructor(
    readonly weight: Tensor | null,
    readonly bias: Tensor | null,
    private readonly eps = 1e-5,
  ) {}

  static create(init: Initializer, features: number, { affine = true, eps = 1e-5 } = {}): LayerNorm {
    if (!affine) return new LayerNorm(null, null, eps);
    return owning((own) => new LayerNorm(own(init.constant([features], 1)), init.constant([features], 0), eps));
  }

  /** `scale` and `shift` are [B, features]: y (1 + scale) + shift for x [B, tokens, features]. */
  forward(x: Tensor, modulation: { readonly scale?: Tensor; readonly shift?: Tensor } = {}): Tensor {
    return layerNorm(x, this.weight, this.bias, { eps: this.eps, ...modulation });
  }
}

/** x / rms(x) * weight over the last axis. */
export class RMSNorm {
  constructor(
    readonly weight: Tensor | null,
    private readonly eps = 1e-6,
  ) {}

  static create(init: Initializer, features: number, { eps = 1e-6 } = {}): RMSNorm {
    return new RMSNorm(init.constant([features], 1), eps);
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, { eps: this.eps });
  }
}

/** Rows of a table [entries, features] by index; drawn from a standard normal. */
export class Embedding {
  constructor(readonly weight: Tensor) {}

  static create(init: Initializer, entries: number, features: number): Embedding {
    return new Embedding(init.normal([entries, features], 1));
  }

  forward(ids: Tensor): Tensor {
    return embedding(ids, this.weight);
  }
}

/** [.., .., heads * headDim] to [.., .., heads, headDim], as attention's layouts BTHC and TBHC. */
export function splitHeads(x: Tensor, heads: number): Tensor {
  const [first, second, features] = x.dims(3);
  check(features % heads === 0, `${features} features do not divide into ${heads} heads`);
  return reshape(x, [first, second, heads, features / heads]);
}

/** The inverse of splitHeads. */
export function mergeHeads(x: Tensor): Tensor {
  const [first, second, heads, headDim] = x.dims(4);
  return reshape(x, [first, second, heads * headDim]);
}

/** Options of the layer Attention. */
export interface AttentionLayerOptions {
  readonly heads: number;
  /** Features of the context; default: those of x (self-attention). */
  readonly contextFeatures?: number;
  /** Bias of the query, key and value projections. */
  readonly bias?: boolean;
}

/**
 * Multi-head attention of x [B, T, features] to itself or to a context [B, S, contextFeatures], named as in diffusers; with
 * `layout` TBHC x is [T, B, features] and the context [S, B, contextFeatures].
 */
export class Attention {
  constructor(
    readonly toQ: Linear,
    readonly toK: Linear,
    readonly toV: Linear,
    readonly toOut: readonly Linear[],
    private readonly heads: number,
  ) {}

  static create(
    init: Initializer,
    features: number,
    { heads, contextFeatures = features, bias = false }: AttentionLayerOptions,
  ): Attention {
    return owning((own) => {
      const projection = (from: number): Linear => {
        const made = Linear.create(init, from, features, { bias });
        own({ dispose: () => disposeModule(made) });
        return made;
      };
      const [toQ, toK, toV] = [projection(features), projection(contextFeatures), projection(contextFeatures)];
      return new Attention(toQ, toK, toV, [Linear.create(init, features, features)], heads);
    });
  }

  /** `causal` and `bias` as in the op attention; `residual` is added to the output. */
  forward(x: Tensor, options: AttentionForwardOptions = {}): Tensor {
    const { context = x, causal = false, layout = 'BTHC', bias, residual, gate } = options;
    const [query, key, value] = [this.toQ.forward(x), this.toK.forward(context), this.toV.forward(context)];
    const heads = [query, key, value].map((part) => splitHeads(part, this.heads));
    const y = attention(heads[0]!, heads[1]!, heads[2]!, { causal, layout, ...(bias && { bias }) });
    return this.toOut[0]!.forward(mergeHeads(y), { residual, gate });
  }
}

/** What a call of the layer Attention is given besides its input. */
export interface AttentionForwardOptions {
  readonly context?: Tensor;
  readonly causal?: boolean;
  readonly layout?: 'BTHC' | 'TBHC';
  readonly bias?: Tensor;
  readonly residual?: Tensor;
  /** Gate and residual of the output, as in the op `linear`. */
  readonly gate?: Tensor;
}
