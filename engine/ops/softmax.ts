/** Softmax and its logarithm along one axis. */
import { axisView } from '../../kernels/reduce.js';
import { planSoftmax, planSoftmaxGrad } from '../../kernels/softmax.js';
import { check } from '../errors.js';
import { defineOp, dispatch } from '../tensor/op.js';
import { resolveAxis } from '../tensor/shape.js';
import { emptyLike, isFloat, type Tensor } from '../tensor/tensor.js';

function softmaxOp(name: string, log: boolean): (x: Tensor, axis?: number) => Tensor {
  return defineOp(name, (x: Tensor, axis = -1) => {
    check(isFloat(x), () => `expected f32 or f16, found ${x}`);
    const view = axisView(x.shape, resolveAxis(axis, x.rank));
    const { features } = x.device;
    const y = emptyLike(x);
    dispatch(planSoftmax(view, x.dtype, log, features), { x, y });
    const grad = (dy: Tensor): Tensor => {
      const dx = emptyLike(x);
      dispatch(planSoftmaxGrad(view, x.dtype, log, features), { y, dy, dx });
      return dx;
    };
    return [y, (dy) => [() => grad(dy)]];
  });
}

/**
 * exp(x) / sum(exp(x)) along `axis` (the last by default), of f32 or f16. The maximum is taken off first, so that large
 * values do not overflow. Masks are large finite negatives, such as -3e38: a row of nothing else becomes uniform.
 * One of nothing but -infinity is NaN, as one that holds NaN or +infinity.
 */
export const softmax = softmaxOp('softmax', false);

/** x - log(sum(exp(x))) along `axis`, the last by default. */
export const logSoftmax = softmaxOp('logSoftmax', true);
