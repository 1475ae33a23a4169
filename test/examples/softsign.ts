import {
  backward,
  Device,
  defineOp,
  dispatch,
  emptyLike,
  linearGrid,
  loadKernel,
  type Tensor,
  tensor,
} from 'winnow/engine';

const kernel = loadKernel(new URL('./softsign.wgsl', import.meta.url));

const run = (x: Tensor, dy: Tensor | null): Tensor => {
  const y = emptyLike(x);
  const variant = { types: { T: x.dtype }, constants: { GRADIENT: dy !== null } };
  const grid = linearGrid(Math.ceil(x.size / 64));
  dispatch(kernel.plan({ variant, params: { count: x.size }, grid }), { x, dy, y });
  return y;
};

/** x / (1 + |x|), with its gradient. */
const softsign = defineOp('softsign', (x: Tensor) => [run(x, null), (dy) => [() => run(x, dy)]]);

const device = await Device.create();
const x = tensor(device, [-3, -1, 0, 0.5, 2]).requireGrad();
const y = softsign(x);
const [gradient] = backward(y, [x], { seed: tensor(device, [1, 1, 1, 1, 1]) });
for (const each of [y, gradient!]) console.log(JSON.stringify([...(await each.data())]));
