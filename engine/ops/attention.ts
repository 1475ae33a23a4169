/** Attention: softmax(scale query key^T + bias) value in one kernel, and its gradients by recomputation. */
import {
  type AttentionLayout,
  type AttentionOptions as KernelOptions,
  maxHeadDim,
  planAttention,
  planAttentionDelta,
  planAttentionKeyValueGrad,
  planAttentionQueryGrad,
} from '../../kernels/attention.js';
import { check } from '../errors.js';
import { defineOp, dispatch, once } from '../tensor/op.js';
import { formatShape } from '../tensor/shape.js';
import { empty, emptyLike, isFloat, type Tensor } from '../tensor/tensor.js';

/** Options of attention. */
export interface AttentionOptions {
  /** Factor of the scores. Default 1 / sqrt(headDim). */
  readonly scale?: number;
  /** Query i sees keys 0 to i only: aligned at the top left, as PyTorch's is_causal. Default false. */
  readonly causal?: boolean;
  /** Order of the axes of query, key, value and result; a linear layer leaves BTHC or TBHC. Default BHTC. */
  readonly layout?: AttentionLayout;
  /** Added to the scores, f32: [batch or 1, heads or 1, queries or 1, keys]. Masks are large negative numbers, such as -1e9 or f32's lowest; of -infinity on every key of a row comes NaN. */
  readonly bias?: Tensor | null;
}

interface Shapes {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  readonly headDim: number;
}

function checkShapes(query: Tensor, key: Tensor, value: Tensor, layout: AttentionLayout): Shapes {
  const sizeOf = (x: Tensor, axis: string): number => x.dims(4)[layout.indexOf(axis)]!;
  const [batch, heads, queries, headDim] = [...'BHTC'].map((axis) => sizeOf(query, axis)) as [
    number,
    number,
    number,
    number,
  ];
  const keys = sizeOf(key, 'T');
  const expected = formatShape(query.shape.with(layout.indexOf('T'), keys));
  for (const [name, tensor] of Object.entries({ key, value })) {
    check(
      formatShape(tensor.shape) === expected,
      () => `query is ${formatShape(query.shape)}, ${name} ${formatShape(tensor.shape)}; expected ${name} ${expected}`,
    );
  }
  check(headDim <= maxHeadDim, `head dimension ${headDim}; expected 1 to ${maxHeadDim}`);
  check(
    [query, key, value].every(({ dtype }) => dtype === query.dtype) && isFloat(query),
    () => `expected query, key and value all f32 or all f16, found ${query.dtype}, ${key.dtype} and ${value.dtype}`,
  );
  return { batch, heads, queries, keys, headDim };
}

function biasStrides(bias: Tensor, { batch, heads, queries, keys }: Shapes): KernelOptions['bias'] {
  const [b, h, q, k] = bias.dims(4);
  const repeats = (size: number, full: number): boolean => size === full || size === 1;
  check(
    repeats(b, batch) && repeats(h, heads) && repeats(q, queries) && k === keys,
    () =>
      `bias is ${formatShape(bias.shape)}; expected [${batch} or 1, ${heads} or 1, ${queries} or 1, ${keys}], as scores are [${batch}, ${heads}, ${queries}, ${keys}]`,
  );
  check(bias.dtype === 'f32', () => `expected a bias of f32, found ${bias}`);
  return { batch: b === 1 ? 0 : h * q * k, head: h === 1 ? 0 : q * k, query: q === 1 ? 0 : k };
}

type Settings = Omit<AttentionOptions, 'bias'>;

const fused = defineOp(
  'attention',
  (query: Tensor, key: Tensor, value: Tensor, bias: Tensor | null, settings: Settings) => {
    const { scale, causal = false, layout = 'BHTC' } = settings;
    const shapes = checkShapes(query, key, value, layout);
    const { batch, heads, queries, headDim } = shapes;
    const { features } = query.device;
    const options: KernelOptions = {
      dtype: query.dtype,
      scale: scale ?? 1 / Math.sqrt(headDim),
      causal,
      layout,
      bias: bias && biasStrides(bias, shapes),
    };
    check(Number.isFinite(options.scale), `expected a finite scale, found ${options.scale}`);
    const inputs = { query, key, value, bias };
    const output = emptyLike(query);
    const softmax = empty(query.device, [batch * heads * queries, 2]); // maximum and 1 / sum of each row
    dispatch(planAttention(shapes, options, features), { ...inputs, output, softmax });

    return [
      output,
      (dy) => {
        const statistics = once(() => {
          const made = empty(query.device, [batch * heads * queries, 3]);
          dispatch(planAttentionDelta(shapes, options, features), { dy, output, softmax, statistics: made });
          return made;
        });
        const keyValue = once(() => {
          const grads = { dKey: emptyLike(key), dValue: emptyLike(value) };
          const saved = { dy, statistics: statistics() };
          dispatch(planAttentionKeyValueGrad(shapes, options, features), { ...inputs, ...saved, ...grads });
          return grads;
        });
        return [
          () => {
            const dQuery = emptyLike(query);
            const saved = { dy, statistics: statistics() };
            dispatch(planAttentionQueryGrad(shapes, options, features), { ...inputs, ...saved, dQuery });
            return dQuery;
          },
          () => keyValue().dKey,
          () => keyValue().dValue,
          // The bias has no gradient: biases here are masks and frozen position tables.
        ];
      },
    ];
  },
);

/**
 * softmax(scale query key^T + bias) value for each head, without a matrix of scores in memory (Dao 2023).
 * query is [batch, heads, queries, headDim], key and value are [batch, heads, keys, headDim], headDim 1 to 160, all f32
 * or all f16; the result has query's shape; `layout` names another order of these axes. A row whose keys all have f32's lowest number as bias is the mean of the values; NaN in a
 * score makes its row NaN. The values must be finite: one of infinity may come out as NaN. The bias has no gradient.
 * With subgroup matrices, softmax weights of f16 inputs are rounded to f16 before they meet the values, as in FlashAttention.
 */
export function attention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  { bias = null, ...settings }: AttentionOptions = {},
): Tensor {
  return fused(query, key, value, bias, settings);
}
