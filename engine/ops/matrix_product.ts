/** One dispatch of a matmul kernel, which matmul and linear share. */
import type { DType } from '../../kernels/kernel.js';
import { type MatmulProblem, type MatmulTuning, planMatmul } from '../../kernels/matmul.js';
import { check } from '../errors.js';
import { dispatch, type TensorRange } from '../op.js';
import { Tensor, viewOf } from '../tensor.js';

/** The same elements as a matrix of `columns` columns. */
export function asMatrix(x: Tensor, columns: number): Tensor {
  return viewOf(x, [x.size / columns, columns]);
}

export interface ProductOperands {
  readonly a: Tensor;
  readonly b: Tensor | TensorRange;
  readonly y: Tensor | TensorRange;
  readonly bias?: Tensor | null;
  readonly residual?: Tensor | null;
  readonly gate?: Tensor | null;
  readonly preactivation?: Tensor | null;
}

/** Dispatches one product. `a` stands in for absent inputs: the device's stand-in may be bound as the output already. */
export function runProduct(
  problem: Omit<MatmulProblem, 'a' | 'b' | 'y' | 'bias' | 'residual' | 'gateRows' | 'savePreactivation'>,
  { a, b, y, bias = null, residual = null, gate = null, preactivation = null }: ProductOperands,
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
      gateRows: gate?.shape[0],
      savePreactivation: preactivation !== null,
    },
    a.device.features,
    tuning,
  );
  dispatch(plan, { a, b, bias, residual, y, preactivation, gate });
}
