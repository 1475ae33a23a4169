/** The kernels of reductions over axes, and the sum that undoes a broadcast. */
import { planReduce, type Reduction } from '../../kernels/reduce.js';
import { dispatch } from '../tensor/op.js';
import { broadcastAxes, type Shape } from '../tensor/shape.js';
import { emptyLike, type Tensor } from '../tensor/tensor.js';

/** Runs the passes of a reduction into a new tensor of `shape`. Not recorded. */
export function reduce(kind: Reduction, x: Tensor, axes: readonly number[], shape: Shape, scale = 1): Tensor {
  const passes = planReduce(kind, x, axes, x.device.features, scale);
  return passes.reduce((input, { plan, size, dtype }, i) => {
    const y = emptyLike(x, i === passes.length - 1 ? shape : [size], dtype);
    dispatch(plan, { x: input, y });
    return y;
  }, x);
}

/** `x` summed over the axes along which `shape` is broadcast to reach it: x itself where there are none. It is not recorded. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  const axes = broadcastAxes(shape, x.shape);
  return axes.length === 0 ? x : reduce('sum', x, axes, shape);
}
