/** Moving elements, on the host. */
import type { Host } from '../host.js';
import { indexOf, positionOf } from './reduce.js';

/** The tensor of `shape` whose element at an index is that of x at `from(index)`, or `otherwise` outside x. */
export function rearrange(x: Host, shape: readonly number[], from: (index: number[]) => number[], otherwise = 0): Host {
  const size = shape.reduce((all, n) => all * n, 1);
  const data = Float64Array.from({ length: size }, (_, i) => {
    const source = from(indexOf(i, shape));
    const inside = source.every((at, axis) => at >= 0 && at < x.shape[axis]!);
    return inside ? x.data[positionOf(source, x.shape)]! : otherwise;
  });
  return { shape, data };
}

export function permute(x: Host, axes: readonly number[]): Host {
  const shape = axes.map((axis) => x.shape[axis]!);
  return rearrange(x, shape, (index) => x.shape.map((_, axis) => index[axes.indexOf(axis)]!));
}

export function slice(x: Host, axis: number, start: number, end: number): Host {
  return rearrange(x, x.shape.with(axis, end - start), (index) => index.with(axis, index[axis]! + start));
}

export function pad(x: Host, widths: readonly (readonly [number, number])[], value: number): Host {
  const shape = x.shape.map((n, axis) => n + widths[axis]![0] + widths[axis]![1]);
  return rearrange(x, shape, (index) => index.map((at, axis) => at - widths[axis]![0]), value);
}

export function concat(xs: readonly Host[], axis: number): Host {
  const first = xs[0]!;
  const shape = first.shape.with(
    axis,
    xs.reduce((all, x) => all + x.shape[axis]!, 0),
  );
  const out = { shape, data: new Float64Array(shape.reduce((all, n) => all * n, 1)) };
  let start = 0;
  for (const x of xs) {
    x.data.forEach((value, i) => {
      const index = indexOf(i, x.shape);
      out.data[positionOf(index.with(axis, index[axis]! + start), shape)] = value;
    });
    start += x.shape[axis]!;
  }
  return out;
}

/** The rows of `table` (along axis 0) that `ids` name, those past the end being the last. */
export function rows(table: Host, ids: Host, shape: readonly number[]): Host {
  const width = table.data.length / table.shape[0]!;
  const last = table.shape[0]! - 1;
  return {
    shape,
    data: Float64Array.from({ length: ids.data.length * width }, (_, i) => {
      const row = Math.min(ids.data[Math.floor(i / width)]!, last);
      return table.data[row * width + (i % width)]!;
    }),
  };
}
