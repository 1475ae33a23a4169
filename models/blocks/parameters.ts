/** The weights of a network: declared by its constructor under their names in the file, without a device; allocated afterwards. */
import { check } from '../../engine/errors.js';
import { type Device, type DType, declare, type Linear, type Tensor } from '../../engine/index.js';
import { formatShape } from '../../engine/tensor/shape.js';

/** One declared weight. */
export interface Parameter {
  /** Full name, as in the file: `down_blocks.0.resnets.0.conv1.weight`. */
  readonly name: string;
  readonly shape: readonly number[];
  /** Without a device until the parameters are allocated. */
  readonly tensor: Tensor;
}

export interface ParameterOptions {
  /**
   * How matrices and convolutions (two axes and more) are stored on the GPU. 'f16' halves the memory of a frozen network
   * and is read packed, without shader-f16; vectors stay f32, and so does every weight declared with `f32: true`.
   * Default 'f32'.
   */
  readonly storage?: 'f32' | 'f16';
}

/** Weights that a network may have: ten times those of the largest, so that a config out of hand does not run on for minutes. */
const mostWeights = 20_000;

/** What all scopes of a network's parameters have in common. */
interface Declarations {
  readonly storage: 'f32' | 'f16';
  readonly all: Parameter[];
  readonly names: Set<string>;
  readonly linears: Map<string, Linear>;
  /** Where they are allocated. */
  device: Device | undefined;
}

/**
 * Hands out the weights of a network. A constructor asks for each by name and shape and gets its tensor, which has no memory
 * yet; when it is done, `all` is the exact list of what the file must hold, and `bytes` is what it will take. Only allocate()
 * touches a device: loadWeights() calls it once the file is known to fit.
 */
export class Parameters {
  private declared: Declarations;
  private prefix = '';

  constructor({ storage = 'f32' }: ParameterOptions = {}) {
    this.declared = { storage, all: [], names: new Set(), linears: new Map(), device: undefined };
  }

  /** Everything declared so far, in order; shared by all scopes. */
  get all(): readonly Parameter[] {
    return this.declared.all;
  }

  /** The linear layers over them, by name: `down_blocks.0.attentions.0.proj_in`. Shared by all scopes; LoRA goes here. */
  get linears(): ReadonlyMap<string, Linear> {
    return this.declared.linears;
  }

  /** Bytes of all weights as they are stored, whether they have their memory or not. */
  get bytes(): number {
    return this.all.reduce((sum, { tensor }) => sum + tensor.bytes, 0);
  }

  /** The device that holds the weights. Throws before allocate(). */
  get device(): Device {
    const { device } = this.declared;
    if (!device) throw new Error('the weights are declared, but not allocated on a device yet');
    return device;
  }

  /** The weights below `name`: `parameters.at('attn1').tensor('to_q.weight', ...)`. Joined by dots. */
  at(name: string | number): Parameters {
    const scope = new Parameters();
    scope.declared = this.declared;
    scope.prefix = `${this.prefix}${name}.`;
    return scope;
  }

  /** Declares a weight. With `f32` it is never stored as f16, for ops that read it as it is. */
  tensor(name: string, shape: readonly number[], { f32 = false }: { readonly f32?: boolean } = {}): Tensor {
    const { storage, all, names } = this.declared;
    const full = this.prefix + name;
    if (names.has(full)) throw new Error(`the network declares ${full} twice`);
    check(all.length < mostWeights, `the network has more than ${mostWeights} weights, expected fewer layers`);
    const dtype: DType = storage === 'f16' && shape.length >= 2 && !f32 ? 'f16' : 'f32';
    const tensor = declare(shape, dtype, `${full} ${formatShape(shape)} ${dtype}`);
    names.add(full);
    all.push({ name: full, shape, tensor });
    return tensor;
  }

  /** Makes a linear layer known under its name. */
  addLinear(name: string, layer: Linear): Linear {
    this.declared.linears.set(this.prefix + name, layer);
    return layer;
  }

  /** Gives every declared weight its memory on a device, once. Where one does not fit, none keeps any. */
  allocate(device: Device): void {
    if (this.declared.device) throw new Error('the weights are allocated already');
    try {
      for (const { tensor } of this.all) tensor.allocate(device);
    } catch (error) {
      this.dispose();
      throw error;
    }
    this.declared.device = device;
  }

  /** Frees every weight declared so far. */
  dispose(): void {
    for (const { tensor } of this.all) tensor.dispose();
  }
}
