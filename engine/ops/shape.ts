/** Ops that move elements without computing: reshape and splitViews are views, the others are strided copies. */
import { type Box, maxCopyRank, mergeBoxAxes, planCopy } from '../../kernels/copy.js';
import { planElementwise } from '../../kernels/elementwise.js';
import { planFill } from '../../kernels/fill.js';
import { check } from '../errors.js';
import { bytesOf } from '../tensor/dtype.js';
import { defineOp, dispatch } from '../tensor/op.js';
import { formatShape, resolveAxis, type Shape, sameShape, sizeOf, stridesOf } from '../tensor/shape.js';
import { emptyLike, type Tensor, viewOf } from '../tensor/tensor.js';

/** The same elements in another shape, over the same memory. One size may be -1: it follows from the others. */
export const reshape = defineOp('reshape', (x: Tensor, shape: Shape) => {
  const open = shape.indexOf(-1);
  const known = sizeOf(shape.filter((_, i) => i !== open));
  const full = open < 0 ? shape : shape.with(open, x.size / known);
  check(
    sizeOf(full) === x.size && full.every((n) => Number.isInteger(n) && n > 0),
    () => `${x} has ${x.size} elements; expected a shape of as many, found ${formatShape(shape)}`,
  );
  return [viewOf(x, full), (dy) => [() => viewOf(dy, x.shape)]];
});

/** The box of `shape` that starts at `start` along `axis`. */
function boxAt(shape: Shape, axis = 0, start = 0): Box {
  const strides = stridesOf(shape);
  return { offset: start * (strides[axis] ?? 0), strides };
}

/** Whether a part of x that begins at element `start` can be bound by itself. */
const canBind = (x: Tensor, start: number): boolean =>
  bytesOf(x.dtype, x.offset + start) % x.device.offsetAlignment === 0;

function copyBox(sizes: Shape, x: Tensor, from: Box, y: Tensor, to: Box): void {
  const axes = mergeBoxAxes(sizes, from, to);
  const rank = axes.length;
  check(rank <= maxCopyRank, () => `a copy of ${formatShape(sizes)} needs ${rank} axes, ${maxCopyRank} at most`);
  const [inner] = axes as [(typeof axes)[number]];
  if (rank === 1 && inner.x === 1 && inner.y === 1 && canBind(x, from.offset) && canBind(y, to.offset)) {
    // One run in both: a plain copy, which a captured step can leave out (copies.ts).
    const run = { shape: [inner.size], dtype: x.dtype };
    const [a, target] = [viewOf(x, run.shape, from.offset), viewOf(y, run.shape, to.offset)];
    const plan = planElementwise([run], { expression: 'a', output: run });
    dispatch(plan, { a, b: null, c: null, y: target });
    return;
  }
  dispatch(planCopy(sizes, from, to, x.dtype, x.device.features), { x, y });
}

const fill = (y: Tensor, value: number): void => dispatch(planFill(y.size, y.dtype, value), { y });

/** x with its axes reordered: axis i of the result is axis axes[i] of x. */
function permuted(x: Tensor, axes: readonly number[]): Tensor {
  const strides = stridesOf(x.shape);
  const y = emptyLike(
    x,
    axes.map((axis) => x.shape[axis]!),
  );
  copyBox(y.shape, x, { offset: 0, strides: axes.map((axis) => strides[axis]!) }, y, boxAt(y.shape));
  return y;
}

/** x with its axes reordered: axis i of the result is axis axes[i] of x. A copy. */
export const permute = defineOp('permute', (x: Tensor, axes: readonly number[]) => {
  const order = axes.map((axis) => resolveAxis(axis, x.rank));
  check(
    order.length === x.rank && new Set(order).size === x.rank,
    () => `expected each of the ${x.rank} axes of ${x} once, found ${formatShape(axes)}`,
  );
  const inverse = order.map((_, i) => order.indexOf(i));
  return [permuted(x, order), (dy) => [() => permuted(dy, inverse)]];
});

/** x with two axes exchanged. A copy. */
export const transpose = defineOp('transpose', (x: Tensor, axis1: number, axis2: number) => {
  const [a, b] = [resolveAxis(axis1, x.rank), resolveAxis(axis2, x.rank)];
  const order = x.shape.map((_, i) => (i === a ? b : i === b ? a : i));
  return [permuted(x, order), (dy) => [() => permuted(dy, order)]];
});

/** The part of x from `start` up to, not including, `start + size` along `axis`. */
function part(x: Tensor, axis: number, start: number, size: number): Tensor {
  const y = emptyLike(x, x.shape.with(axis, size));
  copyBox(y.shape, x, boxAt(x.shape, axis, start), y, boxAt(y.shape));
  return y;
}

/** x along `axis` from `start` up to, not including, `end`; negative positions count from the end of the axis. */
export const slice = defineOp('slice', (x: Tensor, axis: number, start: number, end?: number) => {
  const at = resolveAxis(axis, x.rank);
  const length = x.shape[at]!;
  const position = (n: number): number => (n < 0 ? n + length : n);
  const [from, to] = [position(start), position(end ?? length)];
  check(
    Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from < to && to <= length,
    () => `expected a range within axis ${at} of ${x}, found ${start} to ${end}`,
  );
  const grad = (dy: Tensor): Tensor => {
    const dx = emptyLike(x);
    fill(dx, 0);
    copyBox(dy.shape, dy, boxAt(dy.shape), dx, boxAt(x.shape, at, from));
    return dx;
  };
  return [part(x, at, from, to - from), (dy) => [() => grad(dy)]];
});

/** Where parts of the given sizes start along an axis of x, after checking that they fill it. */
function partStarts(x: Tensor, sizes: readonly number[], axis: number): number[] {
  check(
    sizes.every((n) => Number.isInteger(n) && n > 0) && sizes.reduce((all, n) => all + n, 0) === x.shape[axis],
    () => `expected positive sizes that add up to axis ${axis} of ${x}, found ${formatShape(sizes)}`,
  );
  return startsOf(sizes);
}

/** Where parts of the given sizes start, one after the other. */
const startsOf = (sizes: readonly number[]): number[] =>
  sizes.map((_, i) => sizes.slice(0, i).reduce((all, n) => all + n, 0));

/** The consecutive parts of x of the given sizes along `axis`. */
export const split = defineOp('split', (x: Tensor, sizes: readonly number[], axis: number = 0) => {
  const at = resolveAxis(axis, x.rank);
  const starts = partStarts(x, sizes, at);
  const parts: readonly Tensor[] = sizes.map((size, i) => part(x, at, starts[i]!, size));
  return [parts, (dys) => [() => join(emptyLike(x), at, starts, dys)]];
});

/** Fills y with parts that start at `starts` along `axis`: zeros where one is missing. */
function join(y: Tensor, axis: number, starts: readonly number[], parts: readonly (Tensor | undefined)[]): Tensor {
  if (parts.includes(undefined)) fill(y, 0);
  parts.forEach((each, i) => {
    if (each) copyBox(each.shape, each, boxAt(each.shape), y, boxAt(y.shape, axis, starts[i]));
  });
  return y;
}

/** A part of x along its first axis, over x's memory where that can be bound, else a copy. */
function rowsOf(x: Tensor, start: number, size: number): Tensor {
  const first = start * sizeOf(x.shape.slice(1));
  return canBind(x, first) ? viewOf(x, x.shape.with(0, size), first) : part(x, 0, start, size);
}

/**
 * The consecutive parts of x of the given sizes along its first axis, as views of its memory; where that can't be bound
 * from a part's beginning (`Device.offsetAlignment`), the part is a copy. So they are for reading only, and x is for as
 * long as they are.
 */
export const splitViews = defineOp('splitViews', (x: Tensor, sizes: readonly number[]) => {
  const starts = partStarts(x, sizes, 0);
  const parts: readonly Tensor[] = sizes.map((size, i) => rowsOf(x, starts[i]!, size));
  return [parts, (dys) => [() => join(emptyLike(x), 0, starts, dys)]];
});

/** Tensors of equal dtype joined along `axis`; their other sizes must agree. */
export const concat = defineOp('concat', (xs: readonly Tensor[], axis: number = 0) => {
  const x = xs[0]!;
  const at = resolveAxis(axis, x.rank);
  for (const other of xs) {
    check(
      other.dtype === x.dtype && other.rank === x.rank && sameShape(other.shape.with(at, 1), x.shape.with(at, 1)),
      () => `expected tensors like ${x} but for the size of axis ${at}, found ${other}`,
    );
  }
  const sizes = xs.map(({ shape }) => shape[at]!);
  const starts = startsOf(sizes);
  const y = emptyLike(x, x.shape.with(at, starts.at(-1)! + sizes.at(-1)!));
  join(y, at, starts, xs);
  const grad = (dy: Tensor, i: number): Tensor =>
    at === 0 ? rowsOf(dy, starts[i]!, sizes[i]!) : part(dy, at, starts[i]!, sizes[i]!);
  return [y, (dy) => sizes.map((_, i) => () => grad(dy, i))];
});

/** x with `value` around it: `widths` holds the number of elements before and after, for each axis. */
export const pad = defineOp('pad', (x: Tensor, widths: readonly (readonly [number, number])[], value: number = 0) => {
  check(
    widths.length === x.rank && widths.flat().every((n) => Number.isInteger(n) && n >= 0),
    () => `expected [before, after] for each axis of ${x}, found ${JSON.stringify(widths)}`,
  );
  check(Number.isFinite(value), `expected a finite value, found ${value}`);
  const y = emptyLike(
    x,
    x.shape.map((n, i) => n + widths[i]![0] + widths[i]![1]),
  );
  const strides = stridesOf(y.shape);
  const inside = { offset: widths.reduce((offset, [before], i) => offset + before * strides[i]!, 0), strides };
  fill(y, value);
  copyBox(x.shape, x, boxAt(x.shape), y, inside);
  const grad = (dy: Tensor): Tensor => {
    const dx = emptyLike(x);
    copyBox(x.shape, dy, inside, dx, boxAt(x.shape));
    return dx;
  };
  return [y, (dy) => [() => grad(dy)]];
});
