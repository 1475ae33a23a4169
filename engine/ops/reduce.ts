/** Reductions over axes: sum, mean, max, min, variance, logSumExp, and the cumulative sum. */
import { planReduce, type Reduction } from '../../kernels/reduce.js';
import { defineOp, dispatch } from '../op.js';
import { broadcastAxes, resolveAxes, type Shape } from '../shape.js';
import { emptyLike, type Tensor } from '../tensor.js';
import { expand } from './elementwise.js';
import { reshape } from './shape.js';

export interface ReduceOptions {
  /** Reduced axes stay, with size 1. Default false. */
  readonly keepDims?: boolean;
}

type Axes = number | readonly number[];

/** The shape after reducing `axes`: without them, or with 1 in their place. */
function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): number[] {
  return keepDims ? shape.map((n, i) => (axes.includes(i) ? 1 : n)) : shape.filter((_, i) => !axes.includes(i));
}

/** Runs the passes of a reduction into a new tensor of `shape`. */
function reduce(kind: Reduction, x: Tensor, axes: readonly number[], shape: Shape, scale = 1): Tensor {
  const passes = planReduce(kind, x, axes, x.device.features, scale);
  return passes.reduce((input, { plan, size, dtype }, i) => {
    const y = emptyLike(x, i === passes.length - 1 ? shape : [size], dtype);
    dispatch(plan, { x: input, y });
    return y;
  }, x);
}

/** `x` summed over the axes along which `shape` is broadcast to reach it: x itself where there are none. For pullbacks; not recorded. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  const axes = broadcastAxes(shape, x.shape);
  return axes.length === 0 ? x : reduce('sum', x, axes, shape);
}

/** Sum over `axes` (all by default). f16 is accumulated in f32; integers wrap around. */
export const sum = defineOp('sum', (x: Tensor, axes?: Axes, { keepDims = false }: ReduceOptions = {}) => {
  const over = resolveAxes(axes, x.rank);
  const y = reduce('sum', x, over, reducedShape(x.shape, over, keepDims));
  return [y, (dy) => [() => expand(reshape(dy, reducedShape(x.shape, over, true)), x.shape)]];
});
