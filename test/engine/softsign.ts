/** An op of one's own: softsign, its kernel and its gradient, as a program outside this package writes it. */
import { defineOp, dispatch, emptyLike, linearGrid, loadKernel, type Tensor } from '../../engine/index.js';

const kernel = loadKernel(new URL('../examples/softsign.wgsl', import.meta.url));

/** One dispatch of the kernel: the value of x, or the gradient to x for the dy that came. */
function run(x: Tensor, dy: Tensor | null): Tensor {
  const y = emptyLike(x);
  const plan = kernel.plan({
    variant: { types: { T: x.dtype }, constants: { GRADIENT: dy !== null } },
    params: { count: x.size },
    grid: linearGrid(Math.ceil(x.size / 64)),
  });
  dispatch(plan, { x, dy, y });
  return y;
}

/** x / (1 + |x|), element by element (Turian et al. 2009). x is f32 or f16, of any shape. */
export const softsign = defineOp('softsign', (x: Tensor) => [run(x, null), (dy) => [() => run(x, dy)]]);
