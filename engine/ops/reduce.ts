/** Reductions over axes: sum, mean, max, min, variance, logSumExp, and the cumulative sum. */
import { type AxisView, axisView, cumsumChunk, planCumsum, planPass } from '../../kernels/reduce.js';
import { check } from '../errors.js';
import { defineOp, dispatch } from '../tensor/op.js';
import { resolveAxes, resolveAxis, type Shape, sizeOf } from '../tensor/shape.js';
import { emptyLike, isFloat, type Tensor } from '../tensor/tensor.js';
import { add, cast, div, equal, exp, expand, finiteOrZero, inDtype, log, mul, square, sub } from './elementwise.js';
import { reshape } from './shape.js';
import { reduce } from './sum_to.js';

/** Options of the reductions. */
export interface ReduceOptions {
  /** Reduced axes stay, with size 1. Default false. */
  readonly keepDims?: boolean;
}

type Axes = number | readonly number[];

/** The shape after reducing `axes`: without them, or with 1 in their place. */
function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): number[] {
  return keepDims ? shape.map((n, i) => (axes.includes(i) ? 1 : n)) : shape.filter((_, i) => !axes.includes(i));
}

function checkFloat(x: Tensor): void {
  check(isFloat(x), () => `expected f32 or f16, found ${x}`);
}

/** How many elements meet in one result. */
const reducedSize = (x: Tensor, axes: readonly number[]): number => sizeOf(axes.map((axis) => x.shape[axis]!));

/** A reduced tensor with its reduced axes back, with size 1. */
const withAxes = (y: Tensor, x: Tensor, axes: readonly number[]): Tensor =>
  reshape(y, reducedShape(x.shape, axes, true));

/** Sum over `axes` (all by default). f16 is accumulated in f32; integers wrap around. */
export const sum = defineOp('sum', (x: Tensor, axes?: Axes, { keepDims = false }: ReduceOptions = {}) => {
  const over = resolveAxes(axes, x.rank);
  const y = reduce('sum', x, over, reducedShape(x.shape, over, keepDims));
  return isFloat(x) ? [y, (dy) => [() => expand(withAxes(dy, x, over), x.shape)]] : [y];
});

/** Mean over `axes` (all by default) of f32 or f16. */
export const mean = defineOp('mean', (x: Tensor, axes?: Axes, { keepDims = false }: ReduceOptions = {}) => {
  checkFloat(x);
  const over = resolveAxes(axes, x.rank);
  const scale = 1 / reducedSize(x, over);
  const y = reduce('sum', x, over, reducedShape(x.shape, over, keepDims), scale);
  return [y, (dy) => [() => expand(mul(withAxes(dy, x, over), scale), x.shape)]];
});

function extremum(kind: 'max' | 'min'): (x: Tensor, axes?: Axes, options?: ReduceOptions) => Tensor {
  return defineOp(kind, (x: Tensor, axes?: Axes, { keepDims = false }: ReduceOptions = {}) => {
    const over = resolveAxes(axes, x.rank);
    const y = reduce(kind, x, over, reducedShape(x.shape, over, keepDims));
    if (!isFloat(x)) return [y];
    const grad = (dy: Tensor): Tensor => {
      const chosen = cast(equal(x, withAxes(y, x, over)), 'f32');
      const share = div(inDtype(withAxes(dy, x, over), 'f32'), sum(chosen, over, { keepDims: true }));
      return inDtype(mul(chosen, share), x.dtype);
    };
    return [y, (dy) => [() => grad(dy)]];
  });
}

/** Largest value over `axes` (all by default), NaN where any is. Equal largest values share the gradient, as in PyTorch's amax. */
export const max = extremum('max');

/** Smallest value over `axes` (all by default), NaN where any is. Equal smallest values share the gradient, as in PyTorch's amin. */
export const min = extremum('min');

/** Options of variance. */
export interface VarianceOptions extends ReduceOptions {
  /** Taken off the number of elements in the divisor: 1 gives the unbiased estimate. Default 0. */
  readonly correction?: number;
}

/** sum((x - mean)^2) / (n - correction) over `axes` (all by default), n elements each, in two passes over x. */
export const variance = defineOp(
  'variance',
  (x: Tensor, axes?: Axes, { keepDims = false, correction = 0 }: VarianceOptions = {}) => {
    checkFloat(x);
    const over = resolveAxes(axes, x.rank);
    const divisor = reducedSize(x, over) - correction;
    check(
      divisor > 0,
      () => `expected more than ${correction} elements for each result, found ${divisor + correction}`,
    );
    const centred = (): Tensor => {
      const wide = inDtype(x, 'f32');
      return sub(wide, mean(wide, over, { keepDims: true }));
    };
    const y = reduce('sum', square(centred()), over, reducedShape(x.shape, over, keepDims), 1 / divisor);
    const grad = (dy: Tensor): Tensor =>
      inDtype(mul(centred(), mul(inDtype(withAxes(dy, x, over), 'f32'), 2 / divisor)), x.dtype);
    return [inDtype(y, x.dtype), (dy) => [() => grad(dy)]];
  },
);

/** log(sum(exp(x))) over `axes` (all by default); the maximum is taken off first, so that large values do not overflow. */
export const logSumExp = defineOp('logSumExp', (x: Tensor, axes?: Axes, { keepDims = false }: ReduceOptions = {}) => {
  checkFloat(x);
  const over = resolveAxes(axes, x.rank);
  const wide = inDtype(x, 'f32');
  const top = finiteOrZero(max(wide, over, { keepDims: true })); // beside an infinity nothing needs to be taken off
  const total = add(log(sum(exp(sub(wide, top)), over, { keepDims: true })), top);
  const y = inDtype(reshape(total, reducedShape(x.shape, over, keepDims)), x.dtype);
  return [
    y,
    (dy) => [() => inDtype(mul(exp(sub(inDtype(x, 'f32'), total)), inDtype(withAxes(dy, x, over), 'f32')), x.dtype)],
  ];
});

/** Cumulative sum along the middle axis of the view; chunks start from the cumulative sum of their totals. */
function scan(x: Tensor, shape: Shape, view: AxisView, reversed: boolean): Tensor {
  const wide = x.dtype === 'f16' ? 'f32' : x.dtype;
  const { outer, length, inner } = view;
  const chunks = Math.ceil(length / cumsumChunk);
  let offsets: Tensor | null = null;
  if (chunks > 1) {
    const totals = emptyLike(x, [outer, chunks, inner], wide);
    dispatch(planPass('sum', view, cumsumChunk, x.dtype, wide, x.device.features), { x, y: totals });
    offsets = scan(totals, totals.shape, { outer, length: chunks, inner }, reversed);
  }
  const y = emptyLike(x, shape);
  dispatch(planCumsum(view, x.dtype, wide, reversed), { x, offsets, y });
  return y;
}

/** y_i = x_0 + ... + x_i along `axis`. f16 is accumulated in f32; integers wrap around. */
export const cumsum = defineOp('cumsum', (x: Tensor, axis: number) => {
  const view = axisView(x.shape, resolveAxis(axis, x.rank));
  const y = scan(x, x.shape, view, false);
  return isFloat(x) ? [y, (dy) => [() => scan(dy, x.shape, view, true)]] : [y];
});
