/** Gated residuals, as in the blocks of diffusion transformers. */
import { planElementwise } from '../../kernels/elementwise.js';
import { check } from '../errors.js';
import { defineOp, dispatch } from '../tensor/op.js';
import { formatShape, type Shape, sameShape } from '../tensor/shape.js';
import { emptyLike, isFloat, type Tensor } from '../tensor/tensor.js';
import { mul } from './elementwise.js';
import { reduce } from './sum_to.js';

/**
 * x + gate y in one kernel (Peebles and Xie 2023, adaLN-zero): x and y are [T, B, C], gate is [B, C], one for all tokens
 * of a sample; all f32 or all f16.
 */
export const addGated = defineOp('addGated', (x: Tensor, gate: Tensor, y: Tensor) => {
  const [, samples, features] = x.dims(3);
  const expect = (name: string, found: Tensor, shape: Shape): void =>
    check(
      sameShape(found.shape, shape) && found.dtype === x.dtype,
      () => `${name} is ${found}, expected ${formatShape(shape)} ${x.dtype}`,
    );
  check(isFloat(x), () => `expected f32 or f16, found ${x}`);
  expect('gate', gate, [samples, features]);
  expect('y', y, x.shape);
  const result = emptyLike(x);
  const plan = planElementwise([x, y, gate], { expression: 'a + b * c', output: result });
  dispatch(plan, { a: x, b: y, c: gate, y: result });
  return [result, (dy) => [() => dy, () => reduce('sum', mul(dy, y), [0], gate.shape), () => mul(dy, gate)]];
});
