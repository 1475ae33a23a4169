/** Matrix products in double precision, as plain loops. */
import type { Activation } from '../../kernels/matmul.js';
import { type Host, host } from '../host.js';
import { normalCdf } from './elementwise.js';

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

export const activationReferences: Readonly<Record<Activation, (x: number) => number>> = {
  silu: (x) => x * sigmoid(x),
  gelu: (x) => x * normalCdf(x),
  geluTanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  quickGelu: (x) => x * sigmoid(1.702 * x),
  relu: (x) => Math.max(x, 0),
};

/** op(a) op(b), where the batch axes broadcast. */
export function matmul(a: Host, b: Host, { transposeA = false, transposeB = false } = {}): Host {
  const [m, k] = transposeA ? [a.shape.at(-1)!, a.shape.at(-2)!] : [a.shape.at(-2)!, a.shape.at(-1)!];
  const n = b.shape.at(transposeB ? -2 : -1)!;
  const rank = Math.max(a.shape.length, b.shape.length) - 2;
  const padded = ({ shape }: Host): number[] => [...Array(rank - shape.length + 2).fill(1), ...shape.slice(0, -2)];
  const [aBatch, bBatch] = [padded(a), padded(b)];
  const batch = aBatch.map((size, i) => Math.max(size, bBatch[i]!));
  const matrices = batch.reduce((product, size) => product * size, 1);
  /** Which of an input's matrices meets the batch's `index`-th. */
  const matrixOf = (sizes: readonly number[], index: number): number => {
    let [rest, matrix, stride] = [index, 0, 1];
    for (let axis = rank - 1; axis >= 0; axis--) {
      if (sizes[axis]! > 1) matrix += (rest % batch[axis]!) * stride;
      rest = Math.floor(rest / batch[axis]!);
      stride *= sizes[axis]!;
    }
    return matrix;
  };
  const y = new Float64Array(matrices * m * n);
  for (let z = 0; z < matrices; z++) {
    const [aStart, bStart] = [matrixOf(aBatch, z) * m * k, matrixOf(bBatch, z) * n * k];
    for (let row = 0; row < m; row++) {
      for (let column = 0; column < n; column++) {
        let sum = 0;
        for (let i = 0; i < k; i++) {
          const left = a.data[aStart + (transposeA ? i * m + row : row * k + i)]!;
          const right = b.data[bStart + (transposeB ? column * k + i : i * n + column)]!;
          sum += left * right;
        }
        y[(z * m + row) * n + column] = sum;
      }
    }
  }
  return host([...batch, m, n], y);
}

export interface Epilogue {
  readonly bias?: Host | undefined;
  readonly activation?: Activation | undefined;
  readonly residual?: Host | undefined;
  /** [B, out] for x [T, B, in]. */
  readonly gate?: Host | undefined;
  readonly parts?: number | undefined;
}

/** gate activation(x weight^T + bias) + residual, as [parts, ..., out / parts]. */
export function linear(x: Host, weight: Host, epilogue: Epilogue = {}): Host {
  const { bias, activation, residual, gate, parts = 1 } = epilogue;
  const [out, width] = weight.shape as [number, number];
  const rows = x.data.length / width;
  const y = matmul(host([rows, width], x.data), weight, { transposeB: true }).data;
  const apply = activation ? activationReferences[activation] : (value: number) => value;
  const product = y.map((value, i) => apply(value + (bias?.data[i % out] ?? 0)));
  const columns = out / parts;
  const values = product.map((_, i) => {
    const [part, row, column] = [Math.floor(i / (rows * columns)), Math.floor(i / columns) % rows, i % columns];
    const value = product[row * out + part * columns + column]!;
    return value * (gate?.data[i % gate.data.length] ?? 1) + (residual?.data[i] ?? 0);
  });
  return host([...(parts > 1 ? [parts] : []), ...x.shape.slice(0, -1), columns], values);
}
