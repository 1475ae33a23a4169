/** Rows by index: embedding tables, and picking samples out of a batch. */
import { planFill } from '../../kernels/fill.js';
import {
  type BindingLimits,
  type GatherPart,
  type GatherSize,
  planAssignRows,
  planGather,
  planGatherGrad,
  planGatherLinks,
} from '../../kernels/gather.js';
import type { DType } from '../../kernels/kernel.js';
import { check } from '../errors.js';
import { defineOp, dispatch } from '../tensor/op.js';
import { type Shape, sameShape } from '../tensor/shape.js';
import { emptyLike, isFloat, type Tensor, viewOf } from '../tensor/tensor.js';

/** The rows of `table` named by `ids`, as a tensor of `shape`; with `widen`, f16 becomes f32. */
function gather(ids: Tensor, table: Tensor, size: GatherSize, shape: Shape, widen: boolean): Tensor {
  const y = emptyLike(table, shape, widen ? 'f32' : table.dtype);
  for (const part of planGather(size, table.dtype, widen, bindingLimits(table))) {
    dispatch(part.plan, { ids, table: rowsOf(table, part, size), y });
  }
  return y;
}

const bindingLimits = ({ device }: Tensor): BindingLimits => ({
  bytes: device.limits.maxStorageBufferBindingSize,
  alignment: device.offsetAlignment,
});

/** The rows of a table that one dispatch binds. */
const rowsOf = (tensor: Tensor, { firstRow, rows }: GatherPart, { width }: GatherSize): Tensor =>
  viewOf(tensor, [rows, width], firstRow * width);

/** The sum of the rows of dy that came from each row of the table. */
function gatherGrad(ids: Tensor, dy: Tensor, size: GatherSize, shape: Shape, dtype: DType): Tensor {
  const dTable = emptyLike(dy, shape, dtype);
  const links = emptyLike(ids, [ids.size]);
  dispatch(planFill(dTable.size, dtype, 0), { y: dTable });
  dispatch(planGatherLinks(size), { ids, links });
  dispatch(planGatherGrad(size, dy.dtype, dtype), { ids, links, dy, dTable });
  return dTable;
}

/**
 * Rows of a table: ids u32 [...], table [rows, width] of f32 or f16 -> f32 [..., width]. An f16 table needs no
 * shader-f16, and a table may be larger than a binding. Ids are known to the GPU alone: those past the end give the last
 * row. The gradient adds in a fixed order; it compares all pairs of ids, which is cheap up to some ten thousand.
 */
export const embedding = defineOp('embedding', (ids: Tensor, table: Tensor) => {
  check(ids.dtype === 'u32', () => `expected ids of u32, found ${ids}`);
  check(isFloat(table), () => `expected a table of f32 or f16, found ${table}`);
  const [rows, width] = table.dims(2);
  const size = { rows, width, count: ids.size };
  const y = gather(ids, table, size, [...ids.shape, width], true);
  return [y, (dy) => [undefined, () => gatherGrad(ids, dy, size, table.shape, table.dtype)]];
});

/**
 * x [n, ...] at the given places of axis 0, in their order: indices u32 [m] -> [m, ...]. Indices past the end give the
 * last one. The gradient costs as embedding's.
 */
export const indexSelect = defineOp('indexSelect', (x: Tensor, indices: Tensor) => {
  check(x.rank > 0, 'expected at least one axis, found a scalar');
  check(indices.dtype === 'u32' && indices.rank === 1, () => `expected indices of u32 in one axis, found ${indices}`);
  const [rows, ...rest] = x.shape as [number, ...number[]];
  const size = { rows, width: x.size / rows, count: indices.size };
  const y = gather(indices, x, size, [indices.size, ...rest], false);
  return isFloat(x) ? [y, (dy) => [() => gatherGrad(indices, dy, size, x.shape, x.dtype)]] : [y];
});

/**
 * Overwrites rows of `target` [n, ...] in place: target[indices[i]] = source[i], for indices u32 [m] that differ and source
 * [m, ...] of the same dtype, f32 or u32. Indices past the end write nothing. How a captured step keeps what it makes
 * under a place that only the GPU knows. It is not recorded: a target that needs a gradient is refused.
 */
export function assignRows(target: Tensor, indices: Tensor, source: Tensor): void {
  const [rows, ...rest] = target.shape;
  const { dtype } = target;
  check(indices.dtype === 'u32' && indices.rank === 1, () => `assignRows: expected indices [m] u32, found ${indices}`);
  check(
    rows !== undefined && source.dtype === dtype && sameShape(source.shape, [indices.size, ...rest]),
    () => `assignRows: the target is ${target}, the source ${source}, expected ${indices.size} rows of the target's`,
  );
  check(dtype === 'f32' || dtype === 'u32', () => `assignRows: the target is ${target}, expected f32 or u32`);
  check(!target.requiresGrad, () => `assignRows: ${target} needs a gradient; it can't be overwritten`);
  const size = { rows, width: target.size / rows, count: indices.size };
  for (const part of planAssignRows(size, dtype, bindingLimits(target))) {
    dispatch(part.plan, { ids: indices, source, target_rows: rowsOf(target, part, size) });
  }
}
