/** Matrix products: matmul of any two tensors, and linear, a product with a weight and its epilogue. */
import { mergeAxes, planElementwise } from '../../kernels/elementwise.js';
import type { DType } from '../../kernels/kernel.js';
import {
  type Activation,
  activations,
  type MatmulProblem,
  type MatmulTuning,
  planMatmul,
  planRowRanges,
  type RowRange,
} from '../../kernels/matmul.js';
import { check } from '../errors.js';
import { defineOp, dispatch, type TensorRange } from '../op.js';
import { broadcastShapes, formatShape, sizeOf } from '../shape.js';
import { isGradEnabled } from '../tape.js';
import { emptyLike, isFloat, Tensor, viewOf } from '../tensor.js';
import { expand, inDtype } from './elementwise.js';
import { sumTo } from './sum_to.js';

export interface MatmulOptions {
  /** a is [..., k, m]. */
  readonly transposeA?: boolean;
  /** b is [..., n, k]. */
  readonly transposeB?: boolean;
  readonly tuning?: MatmulTuning;
}

export interface LinearOptions {
  readonly activation?: Activation | undefined;
  /** Added after the activation; of y's shape and dtype. */
  readonly residual?: Tensor | null | undefined;
  readonly tuning?: MatmulTuning | undefined;
}

/** The same elements as a matrix of `columns` columns. */
function asMatrix(x: Tensor, columns: number): Tensor {
  return viewOf(x, [x.size / columns, columns]);
}

interface Operands {
  readonly a: Tensor;
  readonly b: Tensor | TensorRange;
  readonly y: Tensor | TensorRange;
  readonly bias?: Tensor | null;
  readonly residual?: Tensor | null;
  readonly preactivation?: Tensor | null;
}

/** Dispatches one product. `a` stands in for absent inputs: the device's stand-in may be bound as the output already. */
function run(
  problem: Omit<MatmulProblem, 'a' | 'b' | 'y' | 'bias' | 'residual' | 'savePreactivation'>,
  { a, b, y, bias = null, residual = null, preactivation = null }: Operands,
  tuning: MatmulTuning | undefined,
): void {
  const dtypeOf = (x: Tensor | TensorRange): DType => (x instanceof Tensor ? x : x.tensor).dtype;
  check(dtypeOf(y) !== 'f16' || a.device.features.f16, 'this adapter has no shader-f16, which a result of f16 needs');
  const plan = planMatmul(
    {
      ...problem,
      a: a.dtype,
      b: dtypeOf(b),
      y: dtypeOf(y),
      bias: bias?.dtype,
      residual: !!residual,
      savePreactivation: preactivation !== null,
    },
    a.device.features,
    tuning,
  );
  dispatch(plan, { a, b, bias, residual, y, preactivation });
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
    run({ m: a.size / k, n, k, transposeB }, { a, b, y }, tuning);
  } else if (mergeAxes(batch.y, [batch.a, batch.b]).sizes.length > 2) {
    const whole = (x: Tensor): Tensor => expand(x, [...batch.y, ...x.shape.slice(-2)]);
    run(
      { m, n, k, transposeA, transposeB, batch: { a: batch.y, b: batch.y, y: batch.y } },
      { a: whole(a), b: whole(b), y },
      tuning,
    );
  } else {
    run({ m, n, k, transposeA, transposeB, batch }, { a, b, y }, tuning);
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

/**
 * y = activation(x weight^T + bias) + residual, in one kernel. x is [..., in], weight [out, in], bias [out], y and residual
 * [..., out] of x's dtype. Weight and bias are f32 or f16, whatever x is; sums are f32. A weight larger than one binding is
 * bound in ranges of its rows.
 */
export function linear(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  { activation, residual = null, tuning }: LinearOptions = {},
): Tensor {
  // Only the gradients behind the activation need its argument; the residual's does not.
  const saves = activation !== undefined && isGradEnabled() && [x, weight, bias].some((input) => input?.requiresGrad);
  return linearOp(x, weight, bias, residual, { activation, saves, tuning });
}

interface LinearArguments {
  readonly activation: Activation | undefined;
  readonly saves: boolean;
  readonly tuning: MatmulTuning | undefined;
}

const linearOp = defineOp(
  'linear',
  (x: Tensor, weight: Tensor, bias: Tensor | null, residual: Tensor | null, options: LinearArguments) => {
    const { activation, saves, tuning } = options;
    checkLinear(x, weight, bias, residual, activation);
    const [out, width] = weight.dims(2);
    const rows = x.size / width;
    const y = emptyLike(x, [...x.shape.slice(0, -1), out]);
    const preactivation = saves ? emptyLike(y) : null;
    const ranges = weightRanges(weight, tuning);
    for (const range of ranges) {
      const part = { m: rows, n: range.rows, k: width, transposeB: true, yColumns: { all: out, first: range.start } };
      run({ ...part, activation }, { a: x, b: rowsOf(weight, range), y, bias, residual, preactivation }, tuning);
    }

    return [
      y,
      (dy) => {
        let made: Tensor | undefined; // the gradient before the activation, shared by three thunks
        const dz = (): Tensor => {
          made ??= preactivation && activation ? activationGrad(activation, preactivation, dy) : dy;
          return made;
        };
        return [
          () => {
            const dx = emptyLike(x);
            for (const range of ranges) {
              const aColumns = { all: out, first: range.start };
              const part = { m: rows, n: width, k: range.rows, aColumns, accumulate: range.start > 0 };
              run(part, { a: dz(), b: rowsOf(weight, range), y: dx }, tuning);
            }
            return dx;
          },
          () => {
            const dWeight = emptyLike(weight);
            for (const range of ranges) {
              const aColumns = { all: out, first: range.start };
              const part = { m: range.rows, n: width, k: rows, transposeA: true, aColumns };
              run(part, { a: dz(), b: x, y: rowsOf(dWeight, range) }, tuning);
            }
            return dWeight;
          },
          bias ? () => inDtype(sumTo(asMatrix(dz(), out), [out]), bias.dtype) : undefined,
          () => dy,
        ];
      },
    ];
  },
);

function checkLinear(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  residual: Tensor | null,
  activation: Activation | undefined,
): void {
  check(isFloat(x) && isFloat(weight), () => `expected f32 or f16: x is ${x}, weight is ${weight}`);
  const [out, width] = weight.dims(2);
  check(
    x.rank >= 1 && x.shape.at(-1) === width,
    () =>
      `inner dimensions differ: x is ${formatShape(x.shape)}, weight is [out ${out}, in ${width}]; expected x [..., ${width}]`,
  );
  check(!bias || (isFloat(bias) && bias.rank === 1 && bias.size === out), () => `bias is ${bias}; expected [${out}]`);
  const shape = formatShape([...x.shape.slice(0, -1), out]);
  check(
    !residual || (formatShape(residual.shape) === shape && residual.dtype === x.dtype),
    () => `residual is ${residual}; expected ${shape} ${x.dtype}`,
  );
  check(
    activation === undefined || activation in activations,
    () => `activation is ${activation}; expected one of ${Object.keys(activations).join(', ')}`,
  );
}

/** The weight's rows in ranges that can be bound, most often one. */
function weightRanges(weight: Tensor, tuning: MatmulTuning | undefined): RowRange[] {
  const { device, shape } = weight;
  const bindingBytes = tuning?.bindingBytes ?? device.limits.maxStorageBufferBindingSize;
  return planRowRanges(shape[0]!, weight.bytes / shape[0]!, bindingBytes, device.offsetAlignment);
}

function rowsOf(tensor: Tensor, { start, rows }: RowRange): Tensor | TensorRange {
  const [all, columns] = tensor.dims(2);
  return rows === all ? tensor : { tensor, start: start * columns, size: rows * columns };
}

/** activation'(x) dy. */
function activationGrad(activation: Activation, x: Tensor, dy: Tensor): Tensor {
  const dx = emptyLike(x);
  const plan = planElementwise([x, dy], { expression: `${activations[activation]}_grad(a, b)`, output: dx });
  dispatch(plan, { a: x, b: dy, c: null, y: dx });
  return dx;
}
