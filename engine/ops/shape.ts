/** Ops that move elements without computing: reshape is a view, the others are strided copies. */
import { check } from '../errors.js';
import { defineOp } from '../op.js';
import { formatShape, type Shape, sizeOf } from '../shape.js';
import { Tensor } from '../tensor.js';

/** A tensor of another shape over the same memory. */
const view = (x: Tensor, shape: Shape): Tensor => new Tensor(x.device, x.storage, shape, x.dtype);

/** The same elements in another shape, over the same memory. One size may be -1: it follows from the others. */
export const reshape = defineOp('reshape', (x: Tensor, shape: Shape) => {
  const open = shape.indexOf(-1);
  const known = sizeOf(shape.filter((_, i) => i !== open));
  const full = open < 0 ? shape : shape.with(open, x.size / known);
  check(
    sizeOf(full) === x.size && full.every((n) => Number.isInteger(n) && n > 0),
    () => `${x} has ${x.size} elements; expected a shape of as many, found ${formatShape(shape)}`,
  );
  return [view(x, full), (dy) => [() => view(dy, x.shape)]];
});
