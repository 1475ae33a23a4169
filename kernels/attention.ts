/** Plans for attention: the structure that suits the device, by head dimension; never by the batch. */
import { type DType, type Features, linearGrid, type Plan, type Variant } from './kernel.js';
import { subgroupMatrices, suitsSubgroupMatrices } from './subgroup_matrix.js';

export interface AttentionSize {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
}

/** Strides of the additive bias along batch, heads and queries, in elements; 0 along an axis where it repeats. */
export interface BiasStrides {
  readonly batch: number;
  readonly head: number;
  readonly query: number;
}

/** The order of the axes batch, heads, tokens and channels (a head's features). */
export type AttentionLayout = 'BHTC' | 'BTHC' | 'TBHC';

export interface AttentionOptions {
  readonly dtype: DType;
  readonly scale: number;
  readonly causal: boolean;
  /** The layout of query, key, value and result. */
  readonly layout: AttentionLayout;
  readonly bias: BiasStrides | null;
}

/** Largest head dimension: its sums are kept in registers, or in 20 KiB of workgroup memory. */
export const maxHeadDim = 160;

export type AttentionKernel = 'attention' | 'attention_query_grad' | 'attention_key_value_grad';

/** Rows a lane owns, lanes a workgroup, and the tile of the other side: `fetches * lanes` rows. */
export interface AttentionTiles {
  readonly rows: number;
  readonly workgroup: number;
  readonly lanes: number;
  readonly fetches: number;
  /** The lanes of a subgroup load a tile together, instead of each lane all of it. */
  readonly shuffle: boolean;
}

/**
 * Narrow subgroups belong to software adapters, where a load costs as much as some 25 multiply-adds, lane by lane, and a
 * shuffle 2: so two rows a lane, and long tiles that the lanes load together. Longer ones are no longer unrolled, and
 * slow; the key and value kernel, which holds two tiles of scores, is a fifth faster with tiles of 24 than of 32 rows.
 * On a GPU the lanes that read one address share the load, and registers are scarce.
 */
export function attentionTiles(kernel: AttentionKernel, { subgroups, subgroupSize }: Features): AttentionTiles {
  if (!subgroups || subgroupSize > 8) return { rows: 2, workgroup: 64, lanes: 8, fetches: 1, shuffle: false };
  const fetches = kernel === 'attention_key_value_grad' ? 3 : 4;
  return { rows: 2, workgroup: subgroupSize, lanes: subgroupSize, fetches, shuffle: true };
}

/**
 * Declarations for rows of `headDim` elements, loaded as vectors where they divide into them. On software adapters, where
 * a variant takes seconds to compile and no loop over chunks is unrolled, all head dimensions share one.
 */
function rowVariant(
  headDim: number,
  dtype: DType,
  { software }: Features,
): Required<Pick<Variant, 'types' | 'constants' | 'declarations'>> {
  const whole = headDim % 4 === 0;
  return {
    types: { V: whole ? `vec4<${dtype}>` : dtype },
    constants: { CHUNKS: software ? maxHeadDim / 4 : Math.ceil(headDim / 4), EXACT: !software },
    declarations: [`#include "lib/attention_vec${whole ? 4 : 1}.wgsl"`],
  };
}

/** Params and grid of a kernel whose workgroups have `rows` of the `tokens` of a head each. */
function spread(
  size: AttentionSize,
  tokens: number,
  rows: number,
  { scale, causal, layout, bias }: AttentionOptions,
): Pick<Plan, 'params' | 'grid'> {
  const blocks = Math.ceil(tokens / rows);
  const workgroups = blocks * size.batch * size.heads;
  return {
    params: {
      head_dim: size.headDim,
      heads: size.heads,
      queries: size.queries,
      keys: size.keys,
      blocks,
      workgroups,
      causal: causal ? 1 : 0,
      token_step: { BHTC: 1, BTHC: size.heads, TBHC: size.batch * size.heads }[layout],
      tokens_in_sample: layout === 'TBHC' ? 0 : 1,
      tokens_in_head: layout === 'BHTC' ? 1 : 0,
      scale,
      bias_batch: bias?.batch ?? 0,
      bias_head: bias?.head ?? 0,
      bias_query: bias?.query ?? 0,
    },
    grid: linearGrid(workgroups),
  };
}

function plan(
  kernel: AttentionKernel,
  size: AttentionSize,
  tokens: number,
  options: AttentionOptions,
  features: Features,
): Plan {
  const tiles = attentionTiles(kernel, features);
  const { bias, dtype } = options;
  const { types, constants, declarations } = rowVariant(size.headDim, dtype, features);
  return {
    kernel,
    variant: {
      types,
      constants: {
        ...constants,
        WORKGROUP: tiles.workgroup,
        ROWS: tiles.rows,
        LANES: tiles.lanes,
        FETCHES: tiles.fetches,
        TILE: tiles.lanes * tiles.fetches,
        OUTPUTS: kernel === 'attention_key_value_grad' ? 2 : 1,
        BIAS: bias === null ? 0 : bias.query === 0 ? 1 : 2, // 1: of keys alone
      },
      declarations: [...declarations, `#include "lib/attention_${tiles.shuffle ? 'shuffle' : 'registers'}.wgsl"`],
      subgroups: tiles.shuffle,
    },
    ...spread(size, tokens, tiles.rows * tiles.workgroup, options),
  };
}

/** Query rows of a workgroup of attention_subgroup_matrix.wgsl. */
const matrixQueries = 64;

/** Keys of its tile: 32 take up to 31.3 KiB of workgroup memory, where rows are longer 35.3; GPUs with such matrices have 32 and more. */
const matrixKeys = (headDim: number): number => (headDim <= 128 ? 32 : 16);

function planMatrices(size: AttentionSize, options: AttentionOptions, features: Features): Plan {
  const { types, constants, declarations } = rowVariant(size.headDim, options.dtype, features);
  const matrices = subgroupMatrices(features);
  return {
    kernel: 'attention_subgroup_matrix',
    variant: {
      ...matrices,
      types: { ...types, ...matrices.types },
      constants: {
        ...constants,
        ...matrices.constants,
        BLOCKS: Math.ceil(size.headDim / 16),
        TILE: matrixKeys(size.headDim),
        HAS_BIAS: options.bias !== null,
      },
      declarations: [...declarations, ...matrices.declarations],
    },
    ...spread(size, size.queries, matrixQueries, options),
  };
}

/** output and softmax (maximum and 1 / sum of each query row) from query, key, value and bias. */
export function planAttention(size: AttentionSize, options: AttentionOptions, features: Features): Plan {
  if (suitsSubgroupMatrices(features, [options.dtype])) return planMatrices(size, options, features);
  return plan('attention', size, size.queries, options, features);
}

/** statistics (maximum, 1 / sum and delta of each query row) from dy, output and softmax: what both gradients share. */
export function planAttentionDelta(size: AttentionSize, options: AttentionOptions, features: Features): Plan {
  const workgroup = 64;
  const { types, constants, declarations } = rowVariant(size.headDim, options.dtype, features);
  return {
    kernel: 'attention_delta',
    variant: { types, constants: { ...constants, WORKGROUP: workgroup }, declarations },
    params: spread(size, size.queries, workgroup, options).params,
    grid: linearGrid(Math.ceil((size.batch * size.heads * size.queries) / workgroup)),
  };
}

/** dQuery from query, key, value, bias, dy and statistics. */
export function planAttentionQueryGrad(size: AttentionSize, options: AttentionOptions, features: Features): Plan {
  return plan('attention_query_grad', size, size.queries, options, features);
}

/** dKey and dValue from query, key, value, bias, dy and statistics. */
export function planAttentionKeyValueGrad(size: AttentionSize, options: AttentionOptions, features: Features): Plan {
  return plan('attention_key_value_grad', size, size.keys, options, features);
}
