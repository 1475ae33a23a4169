/** The weights of a network: declared by its constructor under their names in the file, filled afterwards. */
import { type Device, type DType, empty, type Linear, type Tensor } from '../../engine/index.js';

/** One declared weight. */
export interface Parameter {
  /** Full name, as in the file: `down_blocks.0.resnets.0.conv1.weight`. */
  readonly name: string;
  readonly shape: readonly number[];
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

/**
 * Hands out the weights of a network. A constructor asks for each by name and shape and gets its tensor, still empty; when
 * it is done, `all` is the exact list of what the file must hold.
 */
export class Parameters {
  /** Everything declared so far, in order; shared by all scopes. */
  readonly all: Parameter[];
  /** The linear layers over them, by name: `down_blocks.0.attentions.0.proj_in`. Shared by all scopes; LoRA goes here. */
  readonly linears: Map<string, Linear>;

  constructor(
    readonly device: Device,
    private readonly options: ParameterOptions = {},
    private readonly prefix = '',
    { all, linears }: Pick<Parameters, 'all' | 'linears'> = { all: [], linears: new Map() },
  ) {
    this.all = all;
    this.linears = linears;
  }

  /** The weights below `name`: `parameters.at('attn1').tensor('to_q.weight', ...)`. Joined by dots. */
  at(name: string | number): Parameters {
    return new Parameters(this.device, this.options, `${this.prefix}${name}.`, this);
  }

  /** Declares a weight. With `f32` it is never stored as f16, for ops that read it as it is. */
  tensor(name: string, shape: readonly number[], { f32 = false }: { readonly f32?: boolean } = {}): Tensor {
    const full = this.prefix + name;
    if (this.all.some((other) => other.name === full)) throw new Error(`the network declares ${full} twice`);
    const dtype: DType = this.options.storage === 'f16' && shape.length >= 2 && !f32 ? 'f16' : 'f32';
    const tensor = empty(this.device, shape, dtype);
    this.all.push({ name: full, shape, tensor });
    return tensor;
  }

  /** Makes a linear layer known under its name. */
  addLinear(name: string, layer: Linear): Linear {
    this.linears.set(this.prefix + name, layer);
    return layer;
  }

  /** Frees every weight declared so far. */
  dispose(): void {
    for (const { tensor } of this.all) tensor.dispose();
  }
}
