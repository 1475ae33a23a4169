/** Matrix products of any two tensors. */
import { mergeAxes } from '../../../kernels/elementwise.js';
import type { DType } from '../../../kernels/kernel.js';
import type { MatmulTuning } from '../../../kernels/matmul.js';
import { check } from '../../errors.js';
import { defineOp } from '../../tensor/op.js';
import { broadcastShapes, formatShape, sizeOf } from '../../tensor/shape.js';
import { emptyLike, isFloat, type Tensor, viewOf } from '../../tensor/tensor.js';
import { expand } from '../elementwise.js';
import { sumTo } from '../sum_to.js';
import { asMatrix, runProduct } from './matrix_product.js';

/** Options of matmul. */
export interface MatmulOptions {
  /** a is [..., k, m]. */
  readonly transposeA?: boolean;
  /** b is [..., n, k]. */
  readonly transposeB?: boolean;
  readonly tuning?: MatmulTuning;
}

/** op(a) op(b) as a tensor of `dtype`, without checks. */
function product(
  a: Tensor,
  b: Tensor,
  dtype: DType,
  { transposeA = false, transposeB = false, tuning }: MatmulOptions,
): Tensor {
  const [m, k] = transposeA ? [a.shape.at(-1)!, a.shape.at(-2)!] : [a.shape.at(-2)!, a.shape.at(-1)!];
  const n = b.shape.at(transposeB ? -2 : -1)!;
  const batch = {
    a: a.shape.slice(0, -2),
    b: b.shape.slice(0, -2),
    y: broadcastShapes(a.shape.slice(0, -2), b.shape.slice(0, -2)),
  };
  const y = emptyLike(a, [...batch.y, m, n], dtype);
  if (sizeOf(batch.b) === 1 && !transposeA) {
    // Every matrix of a meets the same b: they are one tall matrix.
    runProduct({ m: a.size / k, n, k, transposeB }, { a, b, y }, tuning);
  } else if (mergeAxes(batch.y, [batch.a, batch.b]).sizes.length > 2) {
    const whole = (x: Tensor): Tensor => expand(x, [...batch.y, ...x.shape.slice(-2)]);
    runProduct(
      { m, n, k, transposeA, transposeB, batch: { a: batch.y, b: batch.y, y: batch.y } },
      { a: whole(a), b: whole(b), y },
      tuning,
    );
  } else {
    runProduct({ m, n, k, transposeA, transposeB, batch }, { a, b, y }, tuning);
  }
  return y;
}

/**
 * Matrix product over the last two axes: a is [..., m, k] (with transposeA [..., k, m]), b is [..., k, n] (with transposeB
 * [..., n, k]), the result [..., m, n] of a's dtype. The leading axes are batches and broadcast. Both are f32 or f16;
 * sums are f32. Throws where the inner dimensions differ.
 */
export const matmul = defineOp('matmul', (a: Tensor, b: Tensor, options: MatmulOptions = {}) => {
  const { transposeA = false, transposeB = false, tuning } = options;
  check(isFloat(a) && isFloat(b), () => `expected f32 or f16: a is ${a}, b is ${b}`);
  check(
    a.rank >= 2 && b.rank >= 2,
    () => `expected at least 2 axes: a is ${formatShape(a.shape)}, b is ${formatShape(b.shape)}`,
  );
  const k = a.shape.at(transposeA ? -2 : -1)!;
  check(
    b.shape.at(transposeB ? -1 : -2) === k,
    () =>
      `inner dimensions differ: a is ${formatShape(a.shape)}${transposeA ? ' transposed' : ''}, b is ${formatShape(b.shape)}` +
      `${transposeB ? ' transposed' : ''}; expected b ${transposeB ? `[..., n, ${k}]` : `[..., ${k}, n]`}`,
  );
  const y = product(a, b, a.dtype, options);
  const sharedB = !transposeA && sizeOf(b.shape.slice(0, -2)) === 1;
  return [
    y,
    (dy) => [
      () => {
        const da = transposeA
          ? product(b, dy, a.dtype, { transposeA: transposeB, transposeB: true, tuning })
          : product(dy, b, a.dtype, { transposeB: !transposeB, tuning });
        return sumTo(da, a.shape);
      },
      () => {
        // A shared b meets one tall a (see product), and its gradient sums over the rows of all batches at once.
        const [left, right] = sharedB ? [asMatrix(a, k), asMatrix(dy, dy.shape.at(-1)!)] : [a, dy];
        const db = transposeB
          ? product(right, left, b.dtype, { transposeA: true, transposeB: transposeA, tuning })
          : product(left, right, b.dtype, { transposeA: !transposeA, tuning });
        return sharedB ? viewOf(db, b.shape) : sumTo(db, b.shape);
      },
    ],
  ];
});
