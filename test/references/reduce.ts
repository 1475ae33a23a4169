/** Reductions and functions along one axis, in double precision. */
import type { Host } from '../host.js';

/** The index along each axis of the element at a flat position. */
export function indexOf(position: number, shape: readonly number[]): number[] {
  const index: number[] = new Array(shape.length);
  let rest = position;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index[axis] = rest % shape[axis]!;
    rest = Math.floor(rest / shape[axis]!);
  }
  return index;
}

/** The flat position of an index. */
export const positionOf = (index: readonly number[], shape: readonly number[]): number =>
  index.reduce((position, i, axis) => position * shape[axis]! + i, 0);

/** Applies `f` to the values that meet in each result; all axes by default. */
export function reduce(f: (values: number[]) => number, x: Host, axes?: readonly number[], keepDims = false): Host {
  const over = axes ?? x.shape.map((_, axis) => axis);
  const kept = x.shape.map((n, axis) => (over.includes(axis) ? 1 : n));
  const groups: number[][] = Array.from({ length: kept.reduce((all, n) => all * n, 1) }, () => []);
  x.data.forEach((value, i) => {
    const index = indexOf(i, x.shape).map((at, axis) => (over.includes(axis) ? 0 : at));
    groups[positionOf(index, kept)]!.push(value);
  });
  const shape = keepDims ? kept : x.shape.filter((_, axis) => !over.includes(axis));
  return { shape, data: Float64Array.from(groups, f) };
}

/** Replaces each line along `axis` by `f` of it. */
export function alongAxis(f: (line: number[]) => number[], { shape, data }: Host, axis: number): Host {
  const out = new Float64Array(data.length);
  const stride = shape.slice(axis + 1).reduce((all, n) => all * n, 1);
  const length = shape[axis]!;
  for (let i = 0; i < data.length; i++) {
    if (Math.floor(i / stride) % length !== 0) continue;
    const line = Array.from({ length }, (_, k) => data[i + k * stride]!);
    f(line).forEach((value, k) => {
      out[i + k * stride] = value;
    });
  }
  return { shape, data: out };
}

const total = (values: number[]): number => values.reduce((sum, value) => sum + value, 0);

export const sum = total;
export const mean = (values: number[]): number => total(values) / values.length;
export const max = (values: number[]): number => Math.max(...values);
export const min = (values: number[]): number => Math.min(...values);
export const variance =
  (correction: number) =>
  (values: number[]): number =>
    total(values.map((value) => (value - mean(values)) ** 2)) / (values.length - correction);
export function logSumExp(values: number[]): number {
  const top = max(values);
  return top + Math.log(total(values.map((value) => Math.exp(value - top))));
}
export function cumsum(line: number[]): number[] {
  let running = 0;
  return line.map((value) => {
    running += value;
    return running;
  });
}
export function softmax(line: number[]): number[] {
  const whole = logSumExp(line);
  return line.map((value) => Math.exp(value - whole));
}
export function logSoftmax(line: number[]): number[] {
  const whole = logSumExp(line);
  return line.map((value) => value - whole);
}
