/** The transformer that CLIP's two towers, of texts and of images, have in common. */
import { Attention, type LayerNorm, type Linear, type Tensor } from '../../engine/index.js';
import { type ForwardOptions, runBlock } from '../blocks/block.js';
import { layerNorm, linear } from '../blocks/layers.js';
import type { Parameters } from '../blocks/parameters.js';
import { type ConfigProblem, count, epsilon, limits, word } from '../files/config.js';

const activations = { quick_gelu: 'quickGelu', gelu: 'gelu', gelu_new: 'geluTanh' } as const;

type ActivationName = keyof typeof activations;

/** Keys that both towers' configs have. The defaults are those of transformers. */
export const towerKeys = {
  /** Layers of the tower. */
  num_hidden_layers: count(12, { required: true, most: limits.layers }),
  /** What lies between the two layers of a feed-forward. */
  hidden_act: word(Object.keys(activations) as ActivationName[], 'quick_gelu'), // its keys, by definition
  /** Added to the variance in every norm. */
  layer_norm_eps: epsilon(1e-5),
  /** Features of the space that texts and images share. */
  projection_dim: count(512),
};

/** What a tower's layers are made of. */
export interface TowerConfig {
  readonly num_hidden_layers: number;
  readonly hidden_act: ActivationName;
  readonly layer_norm_eps: number;
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_attention_heads: number;
}

/** What is wrong between the keys of a tower's config. */
export function* towerProblems({
  hidden_size: width,
  num_attention_heads: heads,
}: Pick<TowerConfig, 'hidden_size' | 'num_attention_heads'>): Iterable<ConfigProblem> {
  if (width % heads !== 0)
    yield { key: 'num_attention_heads', found: heads, expected: `a divisor of hidden_size ${width}` };
}

export interface CLIPOutput {
  /** The embeddings and the output of each layer, [B, T, hidden_size], without the final norm. */
  readonly hiddenStates: readonly Tensor[];
  /** The last of them: a text's after the final norm, an image's as it is. */
  readonly lastHiddenState: Tensor;
}

/** x + attention(norm1 x), then y + mlp(norm2 y). */
class EncoderLayer {
  private readonly norm1: LayerNorm;
  private readonly attention: Attention;
  private readonly norm2: LayerNorm;
  private readonly fc1: Linear;
  private readonly fc2: Linear;
  private readonly activation: (typeof activations)[ActivationName];

  constructor(
    parameters: Parameters,
    { hidden_size: width, intermediate_size: wide, num_attention_heads, hidden_act, layer_norm_eps: eps }: TowerConfig,
    private readonly causal: boolean,
  ) {
    const projection = (name: string): Linear => linear(parameters, `self_attn.${name}`, width, width);
    const [k, v, q] = [projection('k_proj'), projection('v_proj'), projection('q_proj')];
    this.attention = new Attention(q, k, v, [projection('out_proj')], num_attention_heads);
    this.norm1 = layerNorm(parameters, 'layer_norm1', width, eps);
    this.fc1 = linear(parameters, 'mlp.fc1', width, wide);
    this.fc2 = linear(parameters, 'mlp.fc2', wide, width);
    this.norm2 = layerNorm(parameters, 'layer_norm2', width, eps);
    this.activation = activations[hidden_act];
  }

  forward(x: Tensor): Tensor {
    const y = this.attention.forward(this.norm1.forward(x), { causal: this.causal, residual: x });
    return this.fc2.forward(this.fc1.forward(this.norm2.forward(y), { activation: this.activation }), { residual: y });
  }
}

/** The layers of a tower, `encoder.layers.N`. */
export class CLIPEncoder {
  private readonly layers: readonly EncoderLayer[];

  constructor(parameters: Parameters, config: TowerConfig, { causal }: { readonly causal: boolean }) {
    const own = parameters.at('encoder.layers');
    this.layers = Array.from(
      { length: config.num_hidden_layers },
      (_, i) => new EncoderLayer(own.at(i), config, causal),
    );
  }

  /** Gives x and the output of each layer. */
  forward(x: Tensor, options: ForwardOptions): Tensor[] {
    const states = [x];
    for (const layer of this.layers) states.push(runBlock(layer, [states.at(-1)!], options));
    return states;
  }
}

/** The table of positions [positions, width] below `embeddings`. It is added as it is, so it stays f32. */
export const positionTable = (parameters: Parameters, positions: number, width: number): Tensor =>
  parameters.tensor('embeddings.position_embedding.weight', [positions, width], { f32: true });
