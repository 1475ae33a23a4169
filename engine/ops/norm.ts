/** Normalisations: group norm with silu fused, layer norm with AdaLN's modulation fused, RMS norm. */
import * as groups from '../../kernels/group_norm.js';
import * as layers from '../../kernels/layer_norm.js';
import { check } from '../errors.js';
import { defineOp, dispatch, once } from '../tensor/op.js';
import { formatShape, type Shape, sameShape } from '../tensor/shape.js';
import { empty, emptyLike, isFloat, type Tensor } from '../tensor/tensor.js';
import { add, cast, mul } from './elementwise.js';
import { sum } from './reduce.js';

/** Float types may differ among the arguments. */
function checkFloat(name: string, x: Tensor): void {
  check(isFloat(x), () => `${name} is ${x}, expected f32 or f16`);
  check(x.dtype === 'f32' || x.device.features.f16, () => `${name} is ${x}, but this adapter has no shader-f16`);
}

/** Checks an optional parameter. */
function checkParameter(name: string, parameter: Tensor | null, shape: Shape): void {
  if (!parameter) return;
  checkFloat(name, parameter);
  check(sameShape(parameter.shape, shape), () => `${name} is ${parameter}, expected ${formatShape(shape)}`);
}

/** A gradient in the dtype of its parameter: sums are made in f32. */
const inDTypeOf = ({ dtype }: Tensor, gradient: Tensor): Tensor =>
  gradient.dtype === dtype ? gradient : cast(gradient, dtype);
const inF32 = (x: Tensor): Tensor => (x.dtype === 'f32' ? x : cast(x, 'f32'));

/** Options of groupNorm. */
export interface GroupNormOptions {
  /** Number of groups; it must divide the channels. */
  readonly groups: number;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Apply silu to the result, in the same kernel. Default false. */
  readonly silu?: boolean;
}

/**
 * Group normalisation (Wu and He 2018): y = (x - mean) * rstd * weight + bias, mean and 1 / sqrt(variance + eps) over the
 * channels of a group and all pixels of a sample. x is [N, C, ...], weight and bias [C].
 */
export const groupNorm = defineOp(
  'groupNorm',
  (x: Tensor, weight: Tensor, bias: Tensor, { groups: count, eps = 1e-5, silu = false }: GroupNormOptions) => {
    const { features } = x.device;
    checkFloat('x', x);
    check(x.rank >= 2, () => `expected x [N, C, ...], found ${x}`);
    const [samples, channels, ...axes] = x.shape as [number, number, ...number[]];
    const divides = Number.isInteger(count) && count > 0 && channels % count === 0;
    check(divides, `${channels} channels do not divide into ${count} groups`);
    checkParameter('weight', weight, [channels]);
    checkParameter('bias', bias, [channels]);
    check(weight.dtype === bias.dtype, () => `weight is ${weight}, bias is ${bias}; expected one dtype`);
    const pixels = axes.reduce((product, n) => product * n, 1);
    const size = { samples, channels, pixels, groups: count, dtype: x.dtype, weight: weight.dtype, silu };

    const statistics = empty(x.device, [samples, channels, 2]);
    const y = emptyLike(x);
    dispatch(groups.planGroupNormStatistics(size, eps, features), { x, statistics });
    dispatch(groups.planGroupNorm(size, eps, features), { x, statistics, weight, bias, y });

    return [
      y,
      (dy) => {
        const channelSums = once(() => {
          const sums = empty(x.device, [samples, channels]);
          const products = empty(x.device, [samples, channels]);
          const plan = groups.planGroupNormChannelSums(size, eps, features);
          dispatch(plan, { dy, x, statistics, weight, bias, sums, products });
          return { sums, products };
        });
        return [
          () => {
            const dx = emptyLike(x);
            const plan = groups.planGroupNormGrad(size, eps, features);
            dispatch(plan, { dy, x, statistics, weight, bias, ...channelSums(), dx });
            return dx;
          },
          () => inDTypeOf(weight, sum(channelSums().products, 0)),
          () => inDTypeOf(bias, sum(channelSums().sums, 0)),
        ];
      },
    ];
  },
);

/** What layer norm and RMS norm share: y, and what the gradients need. */
function normaliseRows(
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  modulation: { readonly scale: Tensor; readonly shift: Tensor } | null,
  { centered, eps }: { readonly centered: boolean; readonly eps: number },
) {
  const { device } = x;
  checkFloat('x', x);
  check(x.rank >= 1, () => `expected x [..., C], found ${x}`);
  const columns = x.shape.at(-1)!;
  const rows = x.size / columns;
  checkParameter('weight', weight, [columns]);
  checkParameter('bias', bias, [columns]);
  check(!bias || weight?.dtype === bias.dtype, () => `bias is ${bias}, weight ${weight}; expected both, of one dtype`);
  if (modulation) {
    check(x.rank === 3, () => `expected x [T, B, C] beside scale and shift, found ${x}`);
    const { scale, shift } = modulation;
    checkParameter('scale', scale, [x.shape[1]!, columns]);
    checkParameter('shift', shift, [x.shape[1]!, columns]);
    check(scale.dtype === shift.dtype, () => `scale is ${scale}, shift is ${shift}; expected one dtype`);
  }
  const samples = modulation ? x.shape[1]! : 1;
  const size: layers.LayerNormSize = {
    rows,
    columns,
    samples,
    dtype: x.dtype,
    weight: weight?.dtype,
    bias: bias !== null,
    modulation: modulation?.scale.dtype,
    centered,
  };
  const scale = modulation?.scale ?? null;
  const shift = modulation?.shift ?? null;
  const y = emptyLike(x);
  const statistics = empty(device, [rows, 2]);
  dispatch(layers.planLayerNorm(size, eps, device.features), { x, weight, bias, scale, shift, y, statistics });
  return {
    y,
    inputGrad: (dy: Tensor): Tensor => {
      const dx = emptyLike(x);
      dispatch(layers.planLayerNormGrad(size, device.features), { dy, x, weight, scale, statistics, dx });
      return dx;
    },
    /** Sums over the rows of each chunk: of dy and of dy * xhat, both f32 [samples, chunks, columns]. */
    columnSums: (dy: Tensor) => {
      const shape = [samples, layers.columnSumChunks(size), columns];
      const sums = empty(device, shape);
      const products = empty(device, shape);
      dispatch(layers.planLayerNormColumnSums(size), { dy, x, statistics, sums, products });
      return { sums, products };
    },
  };
}

/** Options of layerNorm. */
export interface LayerNormOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Modulation by the sample, as in DiT's adaptive layer norm: y (1 + scale) + shift, both [B, C], for x [T, B, C]. */
  readonly scale?: Tensor;
  readonly shift?: Tensor;
}

/**
 * Layer normalisation (Ba et al. 2016) over the last axis: y = (x - mean) * rstd * weight + bias, optionally modulated
 * (Peebles and Xie 2023, adaLN). x is [..., C], weight and bias [C] or null.
 */
export const layerNorm = (
  x: Tensor,
  weight: Tensor | null = null,
  bias: Tensor | null = null,
  { eps = 1e-5, scale, shift }: LayerNormOptions = {},
): Tensor => modulatedLayerNorm(x, weight, bias, scale ?? null, shift ?? null, eps);

// The modulation as arguments of their own, so that gradients reach it.
const modulatedLayerNorm = defineOp(
  'layerNorm',
  (x: Tensor, weight: Tensor | null, bias: Tensor | null, scale: Tensor | null, shift: Tensor | null, eps: number) => {
    check((scale === null) === (shift === null), 'expected scale and shift together, or neither');
    const modulation = scale && shift && { scale, shift };
    const { y, inputGrad, columnSums } = normaliseRows(x, weight, bias, modulation, { centered: true, eps });
    return [
      y,
      (dy) => {
        const chunks = once(() => columnSums(dy));
        const perSample = once(() => ({ sums: sum(chunks().sums, 1), products: sum(chunks().products, 1) }));
        const parameterGrad = (of: 'sums' | 'products'): Tensor =>
          scale ? sum(mul(perSample()[of], add(inF32(scale), 1)), 0) : sum(chunks()[of], [0, 1]);
        const scaleGrad = (): Tensor => {
          const { sums, products } = perSample();
          const scaled = weight ? mul(products, inF32(weight)) : products;
          return bias ? add(scaled, mul(sums, inF32(bias))) : scaled;
        };
        return [
          () => inputGrad(dy),
          () => inDTypeOf(weight!, parameterGrad('products')),
          () => inDTypeOf(bias!, parameterGrad('sums')),
          () => inDTypeOf(scale!, scaleGrad()),
          () => inDTypeOf(shift!, perSample().sums),
        ];
      },
    ];
  },
);

/** Options of rmsNorm. */
export interface RmsNormOptions {
  /** Added to the mean square. Default 1e-6. */
  readonly eps?: number;
}

/** RMS normalisation (Zhang and Sennrich 2019) over the last axis: x / sqrt(mean(x^2) + eps) * weight. x is [..., C], weight [C] or null. */
export const rmsNorm = defineOp('rmsNorm', (x: Tensor, weight: Tensor | null, { eps = 1e-6 }: RmsNormOptions = {}) => {
  const { y, inputGrad, columnSums } = normaliseRows(x, weight, null, null, { centered: false, eps });
  return [y, (dy) => [() => inputGrad(dy), () => inDTypeOf(weight!, sum(columnSums(dy).products, [0, 1]))]];
});
