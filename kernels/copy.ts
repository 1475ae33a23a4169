/** Plans for strided copies: permute, slice, split, concat and pad are one kernel with other strides. */
import { type DType, elementTypes, type Features, linearGrid, type Plan } from './kernel.js';

/** A box of a tensor: the element where it starts, and the distance between neighbours along each axis of the box. */
export interface Box {
  readonly offset: number;
  readonly strides: readonly number[];
}

/** An axis of a box: its size, and the distance between neighbours in x and in y. */
interface BoxAxis {
  size: number;
  x: number;
  y: number;
}

/** Axes that a copy may have after merging. */
export const maxCopyRank = 5;

/** The axes of a copy, innermost first: neighbours that are one run in both tensors are one axis, sizes of 1 none. */
export function mergeBoxAxes(sizes: readonly number[], x: Box, y: Box): BoxAxis[] {
  const axes: BoxAxis[] = [];
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    const next = { size: sizes[axis]!, x: x.strides[axis]!, y: y.strides[axis]! };
    if (next.size === 1) continue;
    const last = axes.at(-1);
    if (last && next.x === last.x * last.size && next.y === last.y * last.size) last.size *= next.size;
    else axes.push(next);
  }
  return axes.length > 0 ? axes : [{ size: 1, x: 1, y: 1 }];
}

const inFours = (...numbers: readonly number[]): boolean => numbers.every((n) => n % 4 === 0);

/**
 * A plan that copies a box of `sizes` from x to y, four elements at once where the innermost axes allow. At
 * most `maxCopyRank` axes may remain after merging.
 */
export function planCopy(sizes: readonly number[], x: Box, y: Box, dtype: DType, features: Features): Plan {
  const axes = mergeBoxAxes(sizes, x, y);
  const inner = axes[0]!;
  const outer = axes.slice(1);
  const writesFours = inner.y === 1 && inFours(inner.size, y.offset, ...outer.map((axis) => axis.y));
  const column = outer.find((axis) => axis.x === 1);
  const readsFours = inFours(x.offset, ...axes.filter((axis) => axis.x !== 1).map((axis) => axis.x));
  if (writesFours && readsFours && column && inFours(column.size)) return planTranspose(axes, column, x, y, dtype);

  const width = writesFours ? 4 : 1;
  const gathers = width === 4 && !(inner.x === 1 && readsFours);
  const unit = gathers ? 1 : width; // elements of X
  // One index calculation for several units: integer division is slow on a CPU, but on a GPU neighbours should be lanes.
  const units = inner.size / width;
  const run = features.software ? ([8, 4, 2].find((n) => units % n === 0) ?? 1) : 1;
  const xUnit = (inner.x * width) / unit;
  const items = [
    { size: units / run, x: run * xUnit, y: run * inner.y },
    ...outer.map((axis) => ({ size: axis.size, x: axis.x / unit, y: axis.y / width })),
  ];
  const { T, V } = elementTypes(dtype, width);
  return {
    kernel: 'copy',
    variant: {
      types: { V, X: unit === 4 ? V : T },
      constants: { RANK: axes.length },
      declarations: [`#include "lib/copy_${gathers ? 'elements' : 'unit'}.wgsl"`],
    },
    ...boxParams(items, 256, {
      run,
      xBase: x.offset / unit,
      yBase: y.offset / width,
      xUnit,
      yUnit: inner.y,
      xStep: inner.x,
      yStep: 0,
    }),
  };
}

/** A copy whose rows in x (along `column`) are columns in y: blocks of four by four. */
function planTranspose(axes: readonly BoxAxis[], column: BoxAxis, x: Box, y: Box, dtype: DType): Plan {
  const inner = axes[0]!;
  const items = axes.map((axis) => {
    const block = axis === inner || axis === column ? 4 : 1;
    return { size: axis.size / block, x: (axis.x * block) / 4, y: (axis.y * block) / 4 };
  });
  const { V } = elementTypes(dtype, 4);
  return {
    kernel: 'copy_transpose',
    variant: { types: { V, X: V }, constants: { RANK: axes.length } },
    ...boxParams(items, 64, {
      run: 1,
      xBase: x.offset / 4,
      yBase: y.offset / 4,
      xUnit: 0,
      yUnit: 0,
      xStep: inner.x / 4,
      yStep: column.y / 4,
    }),
  };
}

/** The grid and Params for the items of a box: sizes and strides by axis, and what the kernel asks besides. */
function boxParams(
  items: readonly BoxAxis[],
  workgroupSize: number,
  rest: Readonly<Record<string, number>>,
): Pick<Plan, 'params' | 'grid'> {
  const count = items.reduce((all, { size }) => all * size, 1);
  const params: Record<string, number> = { count, ...rest };
  for (let i = 0; i < maxCopyRank; i++) {
    const axis = items[i] ?? { size: 1, x: 0, y: 0 };
    if (i < maxCopyRank - 1) params[`size${i}`] = axis.size;
    params[`x${i}`] = axis.x;
    params[`y${i}`] = axis.y;
  }
  return { params, grid: linearGrid(Math.ceil(count / workgroupSize)) };
}
