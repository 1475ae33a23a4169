/** Plans for reductions: which axes meet in which pass, and how a long sum is cut into chunks. */
import { type DType, elementTypes, type Features, linearGrid, type Plan } from './kernel.js';

export type Reduction = 'sum' | 'max' | 'min';

/** One dispatch of a reduction: its plan, and what it writes. */
export interface ReducePass {
  readonly plan: Plan;
  /** Elements and type of the result of this pass; the last pass writes the reduction's own. */
  readonly size: number;
  readonly dtype: DType;
}

/** A tensor as a kernel that walks one axis sees it: [outer, length, inner]. */
export interface AxisView {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

/** The view of `shape` in which `axis` is the middle one. */
export function axisView(shape: readonly number[], axis: number): AxisView {
  const product = (sizes: readonly number[]): number => sizes.reduce((all, n) => all * n, 1);
  return { outer: product(shape.slice(0, axis)), length: shape[axis]!, inner: product(shape.slice(axis + 1)) };
}

const workgroupSize = 64;

/**
 * Elements that one result of a pass combines at most; more are cut into chunks of this many, whose results another
 * pass combines. Short enough that rounding errors stay near those of pairwise summation, and that a sum of millions
 * fills the device. Rows (a contiguous reduced axis) and columns differ by what a lane does in about the same time.
 */
const chunkOf = { rows: 2048, columns: 64 } as const;

/** The views in which neighbouring reduced axes are reduced one group after the other, innermost first. */
export function reducedViews(shape: readonly number[], axes: readonly number[]): AxisView[] {
  const sizes = [...shape];
  const views: AxisView[] = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (!axes.includes(axis)) continue;
    const end = axis + 1;
    while (axes.includes(axis - 1)) axis--;
    const product = (from: number, to?: number): number => sizes.slice(from, to).reduce((all, n) => all * n, 1);
    const view = { outer: product(0, axis), length: product(axis, end), inner: product(end) };
    if (view.length > 1) views.push(view);
    sizes.fill(1, axis, end);
  }
  return views.length > 0 ? views : [{ outer: 1, length: 1, inner: sizes.reduce((all, n) => all * n, 1) }];
}

/**
 * The passes that reduce `axes` (distinct, 0-based) of a contiguous tensor and multiply the result by `scale`. f16 is
 * accumulated in f32 through all passes. The order of a sum follows from the layout and the reduced lengths alone.
 */
export function planReduce(
  kind: Reduction,
  { shape, dtype }: { shape: readonly number[]; dtype: DType },
  axes: readonly number[],
  features: Features,
  scale = 1,
): ReducePass[] {
  const passes: ReducePass[] = [];
  const between = dtype === 'f16' ? 'f32' : dtype;
  const views = reducedViews(shape, axes);
  for (const [i, { outer, inner, length: all }] of views.entries()) {
    let length = all;
    do {
      const chunk = inner === 1 ? chunkOf.rows : chunkOf.columns;
      const chunks = Math.ceil(length / chunk);
      const last = i === views.length - 1 && chunks === 1;
      const input = passes.length === 0 ? dtype : between;
      const result = last ? dtype : between;
      const plan = planPass(kind, { outer, length, inner }, chunk, input, result, features, last ? scale : 1);
      passes.push({ plan, size: outer * chunks * inner, dtype: result });
      length = chunks;
    } while (length > 1);
  }
  return passes;
}

/** A plan for one pass: x [outer, length, inner] -> y [outer, ceil(length / chunk), inner]. `chunk` is in elements. */
export function planPass(
  kind: Reduction,
  { outer, length, inner }: AxisView,
  chunk: number,
  input: DType,
  result: DType,
  features: Features,
  scale = 1,
): Plan {
  const rows = inner === 1;
  const width = (rows ? length : inner) % 4 === 0 ? 4 : 1;
  const units = rows
    ? { length: length / width, inner, chunk: chunk / width }
    : { length, inner: inner / width, chunk };
  // One lane a row reads far apart from its neighbours: right for a CPU, wrong for a GPU's coalescing.
  const lanes = rows && !features.software && length > 64 ? workgroupSize : 1;
  const chunks = Math.ceil(length / chunk);
  const count = outer * chunks * units.inner;
  const { V, F, U } = elementTypes(input, width);
  const integer = input === 'u32' || input === 'i32';
  const stored = elementTypes(result, rows ? 1 : width);
  return {
    kernel: 'reduce',
    variant: {
      types: { V, F, U, S: elementTypes(input, 1).F, G: stored.F, Y: stored.V },
      constants: { LANES: lanes },
      declarations: [
        `#include "lib/${kind === 'sum' ? 'fold' : 'join'}${rows ? width : 1}.wgsl"`,
        `#include "lib/reduce_${kind}${kind === 'sum' || !integer ? '' : '_integer'}.wgsl"`,
      ],
    },
    params: { count, ...units, chunks, scale },
    grid: linearGrid(Math.ceil((count * lanes) / workgroupSize)),
  };
}

/** Length of a chunk of a cumulative sum, whose start is the cumulative sum of the chunks before. */
export const cumsumChunk = 64;

/** A plan for the cumulative sum along the middle axis, backwards with `reversed`. `offsets` is the dtype of the chunks' starts. */
export function planCumsum({ outer, length, inner }: AxisView, dtype: DType, offsets: DType, reversed: boolean): Plan {
  const width = inner % 4 === 0 ? 4 : 1;
  const { V, F } = elementTypes(dtype, width);
  const chunks = Math.ceil(length / cumsumChunk);
  const count = (outer * chunks * inner) / width;
  return {
    kernel: 'cumsum',
    variant: {
      types: { V, F, O: elementTypes(offsets, width).V },
      constants: { HAS_OFFSETS: chunks > 1, REVERSED: reversed },
    },
    params: { count, length, inner: inner / width, chunk: cumsumChunk, chunks },
    grid: linearGrid(Math.ceil(count / workgroupSize)),
  };
}
