/** Shape arithmetic: pure functions of lists of sizes. */
import { check } from '../errors.js';

/** Sizes of the axes, outermost first; [] is a scalar. */
export type Shape = readonly number[];

/** Number of elements; 1 for a scalar. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const n of shape) size *= n;
  return size;
}

/** Whether two shapes have the same sizes in the same order. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}

/** A shape as messages show it: `[2, 3]`. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides: number[] = new Array(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i]!;
  }
  return strides;
}

/** Throws unless every size is a positive integer: tensors of no elements are not allowed. */
export function checkShape(shape: Shape): void {
  for (const n of shape) {
    check(
      Number.isInteger(n) && n > 0,
      () => `shape ${formatShape(shape)}: every size must be a positive integer, found ${n}`,
    );
  }
}

/** Turns -1 for the last axis and so on into 0-based axes; throws outside [-rank, rank). */
export function resolveAxis(axis: number, rank: number): number {
  check(
    Number.isInteger(axis) && axis >= -rank && axis < rank,
    `axis ${axis} is outside the ${rank} axes of the tensor (${-rank} to ${rank - 1})`,
  );
  return axis < 0 ? axis + rank : axis;
}

/** Sorted, distinct, non-negative axes; all of them when `axes` is undefined. */
export function resolveAxes(axes: number | readonly number[] | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i);
  const list = (typeof axes === 'number' ? [axes] : axes).map((axis) => resolveAxis(axis, rank));
  check(new Set(list).size === list.length, `axes [${axes}] name an axis twice`);
  return list.sort((a, b) => a - b);
}

/** The shape two tensors broadcast to, by numpy's rule: aligned at the last axis, sizes equal or 1. */
export function broadcastShapes(a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const out: number[] = new Array(rank);
  for (let i = 1; i <= rank; i++) {
    const m = a[a.length - i] ?? 1;
    const n = b[b.length - i] ?? 1;
    check(m === n || m === 1 || n === 1, () => `shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast`);
    out[rank - i] = Math.max(m, n);
  }
  return out;
}

/** The axes of `out` along which `shape` was repeated to reach it. */
export function broadcastAxes(shape: Shape, out: Shape): number[] {
  const lead = out.length - shape.length;
  return out.flatMap((n, i) => (i < lead || (shape[i - lead] === 1 && n !== 1) ? [i] : []));
}
