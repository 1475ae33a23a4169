/** Linear layers: a product with a weight, and what follows it in the same kernel. */
import { planElementwise } from '../../../kernels/elementwise.js';
import {
  type Activation,
  activations,
  type MatmulTuning,
  planRowRanges,
  type RowRange,
} from '../../../kernels/matmul.js';
import { check } from '../../errors.js';
import { defineOp, dispatch, once } from '../../tensor/op.js';
import { formatShape, sameShape } from '../../tensor/shape.js';
import { isGradEnabled } from '../../tensor/tape.js';
import { emptyLike, isFloat, type Tensor, viewOf } from '../../tensor/tensor.js';
import { add, inDtype, mul } from '../elementwise.js';
import { reshape, transpose } from '../shape.js';
import { reduce, sumTo } from '../sum_to.js';
import { asMatrix, runProduct } from './matrix_product.js';

/** Options of linear. */
export interface LinearOptions {
  readonly activation?: Activation | undefined;
  /** Added after the activation; of y's shape and dtype. */
  readonly residual?: Tensor | null | undefined;
  /**
   * [B, out], of y's dtype, for y [T, B, out]: row by row a factor of the product, before the residual (Peebles and Xie 2023,
   * adaLN-zero). It can't be combined with an activation.
   */
  readonly gate?: Tensor | null | undefined;
  /** y is [parts, ..., out / parts]: what `parts` layers side by side give, each in one piece. Not with a gate. Default 1. */
  readonly parts?: number | undefined;
  readonly tuning?: MatmulTuning | undefined;
}

/**
 * y = gate activation(x weight^T + bias) + residual, in one kernel. x is [..., in], weight [out, in], bias [out], y and
 * residual [..., out] of x's dtype. Weight and bias are f32 or f16, whatever x is; sums are f32. A weight larger than one
 * binding is bound in ranges of its rows.
 */
export function linear(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  { activation, residual = null, gate = null, parts = 1, tuning }: LinearOptions = {},
): Tensor {
  // Only the gradients behind the activation need its argument, and the gate's own; the residual's does not.
  const through = activation !== undefined ? [x, weight, bias] : [gate];
  const saves = isGradEnabled() && through.some((input) => input?.requiresGrad);
  const options = { activation, parts, saves, tuning };
  const columns = weight.shape[0]! / parts;
  // Columns are written in fours, which must not lie in two parts.
  const straddles = Number.isInteger(columns) && columns % 4 !== 0;
  if (parts === 1 || gate || !straddles) return linearOp(x, weight, bias, residual, gate, options);
  const rows = x.size / x.shape.at(-1)!;
  const y = linear(x, weight, bias, { activation, tuning });
  const apart = transpose(reshape(y, [rows, parts, columns]), 0, 1);
  const shaped = reshape(apart, [parts, ...x.shape.slice(0, -1), columns]);
  return residual ? add(shaped, residual) : shaped;
}

interface LinearArguments {
  readonly activation: Activation | undefined;
  readonly parts: number;
  readonly saves: boolean;
  readonly tuning: MatmulTuning | undefined;
}

const linearOp = defineOp(
  'linear',
  (
    x: Tensor,
    weight: Tensor,
    bias: Tensor | null,
    residual: Tensor | null,
    gate: Tensor | null,
    options: LinearArguments,
  ) => {
    const { activation, parts, saves, tuning } = options;
    const shape = checkLinear(x, weight, bias, options);
    checkEpilogue(x, shape, residual, gate, options);
    const [out, width] = weight.dims(2);
    const rows = x.size / width;
    const y = emptyLike(x, shape);
    const preactivation = saves ? emptyLike(y) : null;
    const ranges = weightRanges(weight, tuning);
    for (const range of ranges) {
      const part = { m: rows, n: range.rows, k: width, transposeB: true, yColumns: { all: out, first: range.start } };
      const operands = { a: x, b: rowsOf(weight, range), y, bias, residual, gate, preactivation };
      runProduct({ ...part, activation, parts }, operands, tuning);
    }

    return [
      y,
      (dy) => {
        const dz = once(() => asRows(productGrad(dy, activation, preactivation, gate), parts));
        return [
          () => {
            const dx = emptyLike(x);
            for (const range of ranges) {
              const aColumns = { all: out, first: range.start };
              const part = { m: rows, n: width, k: range.rows, aColumns, accumulate: range.start > 0 };
              runProduct(part, { a: dz(), b: rowsOf(weight, range), y: dx }, tuning);
            }
            return dx;
          },
          () => {
            const dWeight = emptyLike(weight);
            for (const range of ranges) {
              const aColumns = { all: out, first: range.start };
              const part = { m: range.rows, n: width, k: rows, transposeA: true, aColumns };
              runProduct(part, { a: dz(), b: x, y: rowsOf(dWeight, range) }, tuning);
            }
            return dWeight;
          },
          bias ? () => inDtype(sumTo(asMatrix(dz(), out), [out]), bias.dtype) : undefined,
          () => dy,
          gate ? () => reduce('sum', mul(dy, preactivation!), [0], gate.shape) : undefined,
        ];
      },
    ];
  },
);

/** The gradient of the product: before the activation and the gate. */
function productGrad(
  dy: Tensor,
  activation: Activation | undefined,
  preactivation: Tensor | null,
  gate: Tensor | null,
): Tensor {
  if (gate) return mul(dy, gate);
  return activation && preactivation ? activationGrad(activation, preactivation, dy) : dy;
}

/** [parts, ..., columns] as [..., parts columns]. */
function asRows(x: Tensor, parts: number): Tensor {
  if (parts === 1) return x;
  const columns = x.shape.at(-1)!;
  return transpose(viewOf(x, [parts, x.size / parts / columns, columns]), 0, 1);
}

/** The shape of y. */
function checkLinear(x: Tensor, weight: Tensor, bias: Tensor | null, { parts }: LinearArguments): number[] {
  check(isFloat(x) && isFloat(weight), () => `expected f32 or f16: x is ${x}, weight is ${weight}`);
  const [out, width] = weight.dims(2);
  check(
    x.rank >= 1 && x.shape.at(-1) === width,
    () =>
      `inner dimensions differ: x is ${formatShape(x.shape)}, weight is [out ${out}, in ${width}]; expected x [..., ${width}]`,
  );
  check(!bias || (isFloat(bias) && bias.rank === 1 && bias.size === out), () => `bias is ${bias}; expected [${out}]`);
  check(
    Number.isInteger(parts) && parts >= 1 && out % parts === 0,
    () => `${out} columns do not divide into ${parts} parts`,
  );
  return [...(parts > 1 ? [parts] : []), ...x.shape.slice(0, -1), out / parts];
}

function checkEpilogue(
  x: Tensor,
  shape: readonly number[],
  residual: Tensor | null,
  gate: Tensor | null,
  { activation, parts }: LinearArguments,
): void {
  check(
    !residual || (sameShape(residual.shape, shape) && residual.dtype === x.dtype),
    () => `residual is ${residual}; expected ${formatShape(shape)} ${x.dtype}`,
  );
  check(
    activation === undefined || activation in activations,
    () => `activation is ${activation}; expected one of ${Object.keys(activations).join(', ')}`,
  );
  if (!gate) return;
  check(activation === undefined && parts === 1, 'a gate beside an activation or parts; expected it alone');
  check(
    shape.length === 3 && sameShape(gate.shape, shape.slice(1)) && gate.dtype === x.dtype,
    () => `gate is ${gate}; expected [B, out] ${x.dtype} for y [T, B, out], found y ${formatShape(shape)}`,
  );
}

/** The weight's rows in ranges that can be bound, most often one. */
function weightRanges(weight: Tensor, tuning: MatmulTuning | undefined): RowRange[] {
  const { device, shape } = weight;
  const bindingBytes = tuning?.bindingBytes ?? device.limits.maxStorageBufferBindingSize;
  return planRowRanges(shape[0]!, weight.bytes / shape[0]!, bindingBytes, device.offsetAlignment);
}

function rowsOf(tensor: Tensor, { start, rows }: RowRange): Tensor {
  const columns = tensor.shape[1]!;
  return viewOf(tensor, [rows, columns], start * columns);
}

/** activation'(x) dy. */
function activationGrad(activation: Activation, x: Tensor, dy: Tensor): Tensor {
  const dx = emptyLike(x);
  const plan = planElementwise([x, dy], { expression: `${activations[activation]}_grad(a, b)`, output: dx });
  dispatch(plan, { a: x, b: dy, c: null, y: dx });
  return dx;
}
