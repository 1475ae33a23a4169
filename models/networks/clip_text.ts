/** CLIP's text encoders (Radford et al. 2021), as Stable Diffusion has them: configs and names of weights are transformers'. */
import { check } from '../../engine/errors.js';
import {
  add,
  type Device,
  type Embedding,
  indexSelect,
  type LayerNorm,
  type Linear,
  reshape,
  slice,
  type Tensor,
  tensor,
} from '../../engine/index.js';
import type { ForwardOptions } from '../blocks/block.js';
import { embedding, layerNorm, linear } from '../blocks/layers.js';
import type { Parameters } from '../blocks/parameters.js';
import { type ConfigOf, configTable, count, type ResolvedConfig, resolveConfig, tokenId } from '../files/config.js';
import { uploadTokenIds } from '../text/token_ids.js';
import { CLIPEncoder, type CLIPOutput, positionTable, towerKeys, towerProblems } from './clip_encoder.js';

/** config.json of a text encoder. The defaults are those of transformers. */
export const clipTextConfig = configTable({
  network: 'CLIP',
  classes: ['CLIPTextModel', 'CLIPTextModelWithProjection'],
  keys: {
    ...towerKeys,
    /** Features of a token. */
    hidden_size: count(512, { required: true }),
    /** Features within the feed-forward. */
    intermediate_size: count(2048),
    /** Heads of every attention. */
    num_attention_heads: count(8),
    /** Number of tokens. */
    vocab_size: count(49408),
    /** The longest text, in tokens. */
    max_position_embeddings: count(77),
    /** The token whose state stands for the text; 2 means the largest id: see pooledPosition. */
    eos_token_id: tokenId(49407),
  },
  across: towerProblems,
});

/** A config as callers write it. */
export type CLIPTextConfig = ConfigOf<typeof clipTextConfig>;

/** Tokenised texts on the GPU, made by clipTokens. */
export interface CLIPTokens {
  /** The tokens' ids, u32 [B, T]. */
  readonly ids: Tensor;
  /** The row of each text's pooled token among all B T tokens, u32 [B]. */
  readonly pooled: Tensor;
}

/**
 * The token whose state stands for the text: the first `eosTokenId`, or the first token where there is none. Configs of
 * old have eos_token_id 2, which is not the tokenizer's: there it is the first token of the largest id.
 */
export function pooledPosition(ids: readonly number[], eosTokenId: number): number {
  const eos = eosTokenId === 2 ? ids.reduce((largest, id) => Math.max(largest, id)) : eosTokenId;
  return Math.max(ids.indexOf(eos), 0);
}

/** Uploads texts of one length. Throws for ids outside the vocabulary and for more tokens than positions. */
export function clipTokens(device: Device, texts: readonly (readonly number[])[], config: CLIPTextConfig): CLIPTokens {
  const full = resolveConfig(clipTextConfig, config);
  const { max_position_embeddings: positions, vocab_size: vocabulary, eos_token_id: eos } = full;
  const ids = uploadTokenIds(device, texts, { vocabulary, positions });
  const [, length] = ids.dims(2);
  const rows = texts.map((text, i) => i * length + pooledPosition(text, eos));
  return { ids, pooled: tensor(device, rows, [rows.length], 'u32') };
}

class TextTransformer {
  private readonly tokens: Embedding;
  private readonly positions: Tensor;
  private readonly encoder: CLIPEncoder;
  private readonly finalNorm: LayerNorm;

  constructor(parameters: Parameters, config: ResolvedConfig<typeof clipTextConfig>) {
    const { hidden_size: width, vocab_size, max_position_embeddings, layer_norm_eps } = config;
    this.tokens = embedding(parameters, 'embeddings.token_embedding', vocab_size, width);
    this.positions = positionTable(parameters, max_position_embeddings, width);
    this.encoder = new CLIPEncoder(parameters, config, { causal: true });
    this.finalNorm = layerNorm(parameters, 'final_layer_norm', width, layer_norm_eps);
  }

  forward(ids: Tensor, options: ForwardOptions): CLIPOutput {
    const [, length] = ids.dims(2);
    const [positions] = this.positions.dims(2);
    check(length <= positions, `CLIP: the texts have ${length} tokens; the model has ${positions} positions`);
    const table = length === positions ? this.positions : slice(this.positions, 0, 0, length);
    const hiddenStates = this.encoder.forward(add(this.tokens.forward(ids), table), options);
    return { hiddenStates, lastHiddenState: this.finalNorm.forward(hiddenStates.at(-1)!) };
  }
}

/** The rows of x [B, T, width] at the pooled tokens: [B, width]. */
function pool(x: Tensor, pooled: Tensor): Tensor {
  const [batch, length, width] = x.dims(3);
  return indexSelect(reshape(x, [batch * length, width]), pooled);
}

/** The text encoder of Stable Diffusion 1. Its weights are declared below `text_model`. */
export class CLIPTextModel {
  private readonly text: TextTransformer;

  /** Throws a CheckError for a config that asks for another network, by its key. */
  constructor(parameters: Parameters, config: CLIPTextConfig) {
    this.text = new TextTransformer(parameters.at('text_model'), resolveConfig(clipTextConfig, config));
  }

  /** ids are u32 [B, T]. */
  forward(ids: Tensor, options: ForwardOptions = {}): CLIPOutput {
    return this.text.forward(ids, options);
  }
}

/** The text encoders of Stable Diffusion 3: the hidden states, and the pooled token in the space shared with images. */
export class CLIPTextModelWithProjection {
  private readonly text: TextTransformer;
  private readonly projection: Linear;

  /** Throws a CheckError for a config that asks for another network, by its key. */
  constructor(parameters: Parameters, config: CLIPTextConfig) {
    const full = resolveConfig(clipTextConfig, config);
    const { hidden_size, projection_dim } = full;
    this.text = new TextTransformer(parameters.at('text_model'), full);
    this.projection = linear(parameters, 'text_projection', hidden_size, projection_dim, { bias: false });
  }

  /** textEmbeds is [B, projection_dim]. */
  forward({ ids, pooled }: CLIPTokens, options: ForwardOptions = {}): CLIPOutput & { readonly textEmbeds: Tensor } {
    const output = this.text.forward(ids, options);
    return { ...output, textEmbeds: this.projection.forward(pool(output.lastHiddenState, pooled)) };
  }
}
