/** One dispatch of a matmul kernel, which matmul and linear share. */
import { type MatmulProblem, type MatmulTuning, planMatmul } from '../../../kernels/matmul.js';
import { check } from '../../errors.js';
import { dispatch } from '../../tensor/op.js';
import { type Tensor, viewOf } from '../../tensor/tensor.js';

/** The same elements as a matrix of `columns` columns. */
export function asMatrix(x: Tensor, columns: number): Tensor {
  return viewOf(x, [x.size / columns, columns]);
}

export interface ProductOperands {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly y: Tensor;
  readonly bias?: Tensor | null;
  readonly residual?: Tensor | null;
  readonly gate?: Tensor | null;
  readonly preactivation?: Tensor | null;
}

/** Dispatches one product. */
export function runProduct(
  problem: Omit<MatmulProblem, 'a' | 'b' | 'y' | 'bias' | 'residual' | 'gateRows' | 'savePreactivation'>,
  { a, b, y, bias = null, residual = null, gate = null, preactivation = null }: ProductOperands,
  tuning: MatmulTuning | undefined,
): void {
  check(y.dtype !== 'f16' || a.device.features.f16, 'this adapter has no shader-f16, which a result of f16 needs');
  const plan = planMatmul(
    {
      ...problem,
      a: a.dtype,
      b: b.dtype,
      y: y.dtype,
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
