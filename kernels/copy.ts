/** Plans for strided copies: permute, slice, split, concat and pad are one kernel with other strides. */
import { type DType, elementTypes, linearGrid, type Plan } from './kernel.js';

/** A box of a tensor: the element where it starts, and the distance between neighbours along each axis of the box. */
export interface Box {
  readonly offset: number;
  readonly strides: readonly number[];
}

const workgroupSize = 256;
const maxRank = 5;

/** The axes of a copy, innermost first: neighbours that are one run in both tensors are one axis, sizes of 1 none. */
export function mergeBoxAxes(sizes: readonly number[], x: Box, y: Box): { size: number; x: number; y: number }[] {
  const axes: { size: number; x: number; y: number }[] = [];
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    const next = { size: sizes[axis]!, x: x.strides[axis]!, y: y.strides[axis]! };
    if (next.size === 1) continue;
    const last = axes.at(-1);
    if (last && next.x === last.x * last.size && next.y === last.y * last.size) last.size *= next.size;
    else axes.push(next);
  }
  return axes.length > 0 ? axes : [{ size: 1, x: 1, y: 1 }];
}

/**
 * A plan that copies a box of `sizes` from x to y. Four elements at once where y's innermost axis allows. Throws when
 * more than five axes remain after merging.
 */
export function planCopy(sizes: readonly number[], x: Box, y: Box, dtype: DType): Plan {
  const axes = mergeBoxAxes(sizes, x, y);
  if (axes.length > maxRank) throw new Error(`a copy of [${sizes}] needs ${axes.length} axes, ${maxRank} at most`);
  const [inner, ...outer] = axes as [(typeof axes)[0], ...typeof axes];
  const inFours = (offset: number, side: 'x' | 'y'): boolean =>
    [offset, ...outer.map((axis) => axis[side])].every((n) => n % 4 === 0);
  const width = inner.size % 4 === 0 && inner.y === 1 && inFours(y.offset, 'y') ? 4 : 1;
  const gather = width === 4 && !(inner.x === 1 && inFours(x.offset, 'x'));
  const unit = gather ? 1 : width; // of x
  const { T, V } = elementTypes(dtype, width);
  const params: Record<string, number> = {
    count: sizes.reduce((all, n) => all * n, 1) / width,
    xBase: x.offset / unit,
    yBase: y.offset / width,
    xStep: inner.x,
  };
  for (let i = 0; i < maxRank; i++) {
    const axis = axes[i] ?? { size: 1, x: 0, y: 0 };
    if (i < maxRank - 1) params[`size${i}`] = i === 0 ? axis.size / width : axis.size;
    params[`x${i}`] = i > 0 ? axis.x / unit : gather ? 4 * axis.x : axis.x;
    params[`y${i}`] = i > 0 ? axis.y / width : axis.y;
  }
  const load = gather
    ? 'V(x[at], x[at + params.xStep], x[at + 2u * params.xStep], x[at + 3u * params.xStep])'
    : 'x[at]';
  return {
    kernel: 'copy',
    variant: {
      types: { V, X: unit === 4 ? V : T },
      constants: { RANK: axes.length },
      declarations: [`fn load(at: u32) -> V { return ${load}; }`],
    },
    params,
    grid: linearGrid(Math.ceil(params.count! / workgroupSize)),
  };
}
