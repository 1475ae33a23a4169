/** Plans for picking rows of a table by index, and for the gradient to the table. */
import { type DType, elementTypes, linearGrid, type Plan } from './kernel.js';

/** `count` rows of `width` elements, out of a table of `rows`. */
export interface GatherSize {
  readonly rows: number;
  readonly width: number;
  readonly count: number;
}

export interface BindingLimits {
  /** Largest binding, in bytes. */
  readonly bytes: number;
  /** What the offset of a binding must be a multiple of, in bytes. */
  readonly alignment: number;
}

/** One dispatch, over the part of the table that it binds. */
export interface GatherPart {
  readonly plan: Plan;
  readonly firstRow: number;
  readonly rows: number;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** Rows that one binding holds, such that the next part starts at an allowed offset. Throws where no row fits. */
function rowsOfPart(rows: number, rowBytes: number, { bytes, alignment }: BindingLimits): number {
  if (rows * rowBytes <= bytes) return rows;
  const step = alignment / gcd(alignment, rowBytes);
  const part = Math.floor(bytes / rowBytes / step) * step;
  if (part === 0) throw new Error(`${step} rows of ${rowBytes} bytes exceed the largest binding, ${bytes} bytes`);
  return part;
}

/**
 * One dispatch for each part of the table that fits a binding. An f16 table with `widen` is read as u32 words and gives
 * f32; otherwise the rows are copied as they are.
 */
export function planGather(
  { rows, width, count }: GatherSize,
  dtype: DType,
  widen: boolean,
  limits: BindingLimits,
): GatherPart[] {
  const packed = widen && dtype === 'f16';
  const unit = width % 4 === 0 ? 4 : 1;
  const { V } = elementTypes(packed ? 'f32' : dtype, unit);
  const words = unit === 4 ? 'vec2u' : 'u32';
  const part = rowsOfPart(rows, width * (dtype === 'f16' ? 2 : 4), limits);
  return Array.from({ length: Math.ceil(rows / part) }, (_, i) => {
    const firstRow = i * part;
    const size = { firstRow, rows: Math.min(part, rows - firstRow) };
    const units = (count * width) / unit;
    const plan: Plan = {
      kernel: 'gather',
      variant: {
        types: { V, X: packed ? words : V },
        declarations: packed
          ? [`#include "lib/half${unit}.wgsl"`, '#include "lib/gather_half.wgsl"']
          : ['#include "lib/gather_stored.wgsl"'],
      },
      params: { count: units, width: width / unit, ...size, lastRow: rows - 1 },
      grid: linearGrid(Math.ceil(units / 256)),
    };
    return { plan, ...size };
  });
}

/**
 * The inverse: `count` rows of 4-byte elements written over those of a table. One dispatch for each part of the table that
 * fits a binding.
 */
export function planAssignRows(
  { rows, width, count }: GatherSize,
  dtype: 'f32' | 'u32',
  limits: BindingLimits,
): GatherPart[] {
  const unit = width % 4 === 0 ? 4 : 1;
  const part = rowsOfPart(rows, width * 4, limits);
  return Array.from({ length: Math.ceil(rows / part) }, (_, i) => {
    const size = { firstRow: i * part, rows: Math.min(part, rows - i * part) };
    const plan: Plan = {
      kernel: 'assign_rows',
      variant: { types: { V: elementTypes(dtype, unit).V } },
      params: { count: (count * width) / unit, width: width / unit, ...size },
      grid: linearGrid(Math.ceil((count * width) / unit / 256)),
    };
    return { plan, ...size };
  });
}

/** A plan that chains equal ids, for the gradient. */
export function planGatherLinks({ rows, count }: GatherSize): Plan {
  return {
    kernel: 'gather_links',
    variant: {},
    params: { n: count, lastRow: rows - 1 },
    grid: linearGrid(Math.ceil(count / 64)),
  };
}

/** The gradient to the table, of `dtype`, which holds zeros before. Accumulated in f32. */
export function planGatherGrad({ rows, width, count }: GatherSize, dy: DType, dtype: DType): Plan {
  const unit = width % 4 === 0 ? 4 : 1;
  const { V, F } = elementTypes(dy, unit);
  const units = (count * width) / unit;
  return {
    kernel: 'gather_grad',
    variant: { types: { V, F, Y: elementTypes(dtype, unit).V } },
    params: { count: units, width: width / unit, n: count, lastRow: rows - 1 },
    grid: linearGrid(Math.ceil(units / 64)),
  };
}
