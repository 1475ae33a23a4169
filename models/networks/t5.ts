/** T5 v1.1's encoder (Raffel et al. 2020, Shazeer 2020): Stable Diffusion 3's third text encoder. Names are transformers'. */

import {
  add,
  attention,
  type Device,
  type Embedding,
  Linear,
  matmul,
  mergeHeads,
  mul,
  permute,
  type RMSNorm,
  softmax,
  splitHeads,
  type Tensor,
  tensor,
} from '../../engine/index.js';
import { type ForwardOptions, runBlock } from '../blocks/block.js';
import { embedding, linear, rmsNorm } from '../blocks/layers.js';
import type { Parameters } from '../blocks/parameters.js';
import {
  type ConfigOf,
  configTable,
  count,
  epsilon,
  limits,
  only,
  type ResolvedConfig,
  resolveConfig,
} from '../files/config.js';
import { uploadTokenIds } from '../text/token_ids.js';

/** config.json of the encoder. The defaults are those of transformers. */
export const t5Config = configTable({
  network: 'T5',
  classes: ['T5EncoderModel', 'T5ForConditionalGeneration'], // a whole T5 may serve
  keys: {
    /** Number of tokens. */
    vocab_size: count(32128, { required: true }),
    /** Features of a token. */
    d_model: count(512, { required: true }),
    /** Features of a head. */
    d_kv: count(64),
    /** Features within the feed-forward. */
    d_ff: count(2048),
    /** Blocks of the encoder. */
    num_layers: count(6, { required: true, most: limits.layers }),
    /** Heads of every attention. */
    num_heads: count(8),
    /** Buckets of the distances between tokens. */
    relative_attention_num_buckets: count(32),
    /** From this distance on all are in one bucket. */
    relative_attention_max_distance: count(128),
    /** Added to the mean square in every norm. */
    layer_norm_epsilon: epsilon(1e-6),
    /** The plain relu of T5 v1.0, which an absent key stands for, is none of Stable Diffusion's. */
    feed_forward_proj: only('gated-gelu', 'relu'),
    dense_act_fn: only('gelu_new'),
    is_gated_act: only(true),
  },
});

/** A config as callers write it. */
export type T5Config = ConfigOf<typeof t5Config>;

type Config = ResolvedConfig<typeof t5Config>;

interface Buckets {
  readonly buckets: number;
  readonly maxDistance: number;
}

/**
 * The bucket of key - query: half of the buckets for each sign; within a half, the first half are distances of their own,
 * the others grow by equal factors up to `maxDistance` and hold all beyond.
 */
export function relativeBucket(offset: number, { buckets, maxDistance }: Buckets): number {
  const half = buckets / 2;
  const exact = half / 2;
  const distance = Math.abs(offset);
  const sign = offset > 0 ? half : 0;
  if (distance < exact) return sign + distance;
  // The edges are exact in real numbers (16 is the first of bucket 10 of 32): rounding must not move one down a bucket.
  const factor = Math.log(distance / exact) / Math.log(maxDistance / exact);
  return sign + Math.min(exact + Math.floor(factor * (half - exact) + 1e-6), half - 1);
}

/** The buckets of all pairs of `length` tokens, queries by keys. */
function relativeBuckets(length: number, options: Buckets): Uint32Array {
  const byOffset = Array.from({ length: 2 * length - 1 }, (_, i) => relativeBucket(i - length + 1, options));
  return Uint32Array.from({ length: length * length }, (_, i) => {
    const query = Math.floor(i / length);
    return byOffset[i - query * length - query + length - 1]!;
  });
}

/** x + attention(norm x), then y + feedForward(norm y), all without biases. */
class Block {
  private readonly attentionNorm: RMSNorm;
  private readonly toQ: Linear;
  private readonly toK: Linear;
  private readonly toV: Linear;
  private readonly toOut: Linear;
  private readonly feedForwardNorm: RMSNorm;
  private readonly gate: Linear;
  private readonly value: Linear;
  private readonly out: Linear;
  private readonly heads: number;

  constructor(parameters: Parameters, config: Config) {
    const { d_model: width, d_kv, num_heads, d_ff, layer_norm_epsilon: eps } = config;
    const bias = false;
    const own = parameters.at('layer.0.SelfAttention');
    this.toQ = linear(own, 'q', width, num_heads * d_kv, { bias });
    this.toK = linear(own, 'k', width, num_heads * d_kv, { bias });
    this.toV = linear(own, 'v', width, num_heads * d_kv, { bias });
    this.toOut = linear(own, 'o', num_heads * d_kv, width, { bias });
    this.attentionNorm = rmsNorm(parameters, 'layer.0.layer_norm', width, eps);
    const dense = parameters.at('layer.1.DenseReluDense');
    this.gate = linear(dense, 'wi_0', width, d_ff, { bias });
    this.value = linear(dense, 'wi_1', width, d_ff, { bias });
    // Files of 16 bits keep this one in f32, as transformers does: its products are the largest of the network.
    const out = dense.tensor('wo.weight', [width, d_ff], { f32: true });
    this.out = dense.addLinear('wo', new Linear(out, null));
    this.feedForwardNorm = rmsNorm(parameters, 'layer.1.layer_norm', width, eps);
    this.heads = num_heads;
  }

  /** x [B, T, width], bias [1, heads, T, T]. */
  forward(x: Tensor, bias: Tensor): Tensor {
    const normed = this.attentionNorm.forward(x);
    const [query, key, value] = [this.toQ, this.toK, this.toV].map((to) => splitHeads(to.forward(normed), this.heads));
    const attended = unscaledAttention(query!, key!, value!, bias);
    const y = this.toOut.forward(mergeHeads(attended), { residual: x });
    const inner = this.feedForwardNorm.forward(y);
    const gated = mul(this.gate.forward(inner, { activation: 'geluTanh' }), this.value.forward(inner));
    return this.out.forward(gated, { residual: y });
  }
}

/** softmax(query key^T + bias) value. With a trained bias the scores are in memory: attention() has no gradient for it. */
function unscaledAttention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor): Tensor {
  if (!bias.requiresGrad) return attention(query, key, value, { scale: 1, bias, layout: 'BTHC' });
  const [q, k, v] = [query, key, value].map((x) => permute(x, [0, 2, 1, 3])) as [Tensor, Tensor, Tensor];
  return permute(matmul(softmax(add(matmul(q, k, { transposeB: true }), bias)), v), [0, 2, 1, 3]);
}

/** Uploads texts of one length as u32 [B, T]. Throws for ids outside the vocabulary. */
export function t5Tokens(device: Device, texts: readonly (readonly number[])[], config: T5Config): Tensor {
  return uploadTokenIds(device, texts, { vocabulary: resolveConfig(t5Config, config).vocab_size });
}

/** The encoder. The table of tokens is `shared.weight`; files may repeat it as `encoder.embed_tokens.weight`. */
export class T5EncoderModel {
  private readonly tokens: Embedding;
  private readonly biases: Embedding;
  private readonly blocks: readonly Block[];
  private readonly finalNorm: RMSNorm;
  private readonly buckets: Buckets;

  constructor(parameters: Parameters, config: T5Config) {
    const full = resolveConfig(t5Config, config);
    const { d_model: width, num_layers, num_heads, relative_attention_num_buckets: buckets } = full;
    this.buckets = { buckets, maxDistance: full.relative_attention_max_distance };
    this.tokens = embedding(parameters, 'shared', full.vocab_size, width);
    const own = parameters.at('encoder');
    const table = 'block.0.layer.0.SelfAttention.relative_attention_bias';
    this.biases = embedding(own, table, buckets, num_heads);
    this.blocks = Array.from({ length: num_layers }, (_, i) => new Block(own.at('block').at(i), full));
    this.finalNorm = rmsNorm(own, 'final_layer_norm', width, full.layer_norm_epsilon);
  }

  /** ids u32 [B, T] -> the last hidden state [B, T, d_model]. Padding is attended to, as Stable Diffusion 3 does. */
  forward(ids: Tensor, options: ForwardOptions = {}): Tensor {
    const [, length] = ids.dims(2);
    const pairs = tensor(ids.device, relativeBuckets(length, this.buckets), [1, length, length], 'u32');
    const bias = permute(this.biases.forward(pairs), [0, 3, 1, 2]); // [1, heads, T, T]
    let x = this.tokens.forward(ids);
    for (const block of this.blocks) x = runBlock(block, [x, bias], options);
    return this.finalNorm.forward(x);
  }
}
