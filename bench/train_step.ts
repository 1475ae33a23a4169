/** A whole training step, captured: forward, backward and AdamW of a multilayer perceptron with ReLU and a squared error. */
import type { Device } from '../engine/device/device.js';
import { AdamW } from '../engine/nn/optimizer.js';
import { square, sub } from '../engine/ops/elementwise.js';
import { linear } from '../engine/ops/products/linear.js';
import { mean } from '../engine/ops/reduce.js';
import { backward } from '../engine/tensor/tape.js';
import type { BenchCase, Prepared, ShapeSet } from './harness.js';
import { input } from './ops/random.js';

interface Mlp {
  readonly set: ShapeSet;
  readonly batch: number;
  /** Features of the input, of each hidden layer and of the output. */
  readonly widths: readonly number[];
}

const shapes: readonly Mlp[] = [
  { set: 'sd14', batch: 256, widths: [512, 1024, 1024, 256] },
  { set: 'small', batch: 64, widths: [64, 128, 128, 32] },
];

/** c[m, n] = sum over k of a[m, k] b[k, n], where `at` gives the index of an element of each. */
function product(
  [m, n, k]: readonly [number, number, number],
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  at: { a: (row: number, i: number) => number; b: (i: number, column: number) => number },
): Float64Array {
  const c = new Float64Array(m * n);
  for (let row = 0; row < m; row++) {
    for (let i = 0; i < k; i++) {
      const factor = a[at.a(row, i)]!;
      if (factor === 0) continue; // half of the activations
      for (let column = 0; column < n; column++) c[row * n + column]! += factor * b[at.b(i, column)]!;
    }
  }
  return c;
}

/** The loss, and the norm of all weights' gradients together, in double precision. */
function reference(
  { batch, widths }: Mlp,
  x: ArrayLike<number>,
  weights: readonly ArrayLike<number>[],
  target: ArrayLike<number>,
) {
  const layers = weights.map((weight, i) => ({
    weight,
    from: widths[i]!,
    to: widths[i + 1]!,
    last: i === weights.length - 1,
  }));
  const activations: ArrayLike<number>[] = [x];
  for (const [i, { weight, from, to, last }] of layers.entries()) {
    const at = { a: (row: number, k: number) => row * from + k, b: (k: number, column: number) => column * from + k };
    const y = product([batch, to, from], activations[i]!, weight, at);
    activations.push(last ? y : y.map((value) => Math.max(value, 0)));
  }
  const y = activations.at(-1) as Float64Array;
  let gradient = y.map((value, i) => (2 * (value - target[i]!)) / y.length);
  let squares = 0;
  for (const [i, { weight, from, to }] of [...layers.entries()].reverse()) {
    const below = activations[i]!;
    const weightGrad = product([to, from, batch], gradient, below, {
      a: (row, n) => n * to + row,
      b: (n, column) => n * from + column,
    });
    squares += weightGrad.reduce((sum, value) => sum + value * value, 0);
    if (i === 0) break;
    const inputGrad = product([batch, from, to], gradient, weight, {
      a: (row, k) => row * to + k,
      b: (k, column) => k * from + column,
    });
    gradient = inputGrad.map((value, j) => (below[j]! > 0 ? value : 0));
  }
  return { loss: y.reduce((sum, value, i) => sum + (value - target[i]!) ** 2, 0) / y.length, norm: Math.sqrt(squares) };
}

function prepare(device: Device, mlp: Mlp): Prepared {
  const { batch, widths } = mlp;
  const x = input(device, [batch, widths[0]!], 1);
  const target = input(device, [batch, widths.at(-1)!], 2);
  const weights = widths.slice(1).map((to, i) => input(device, [to, widths[i]!], 3 + i, { scale: widths[i]! ** -0.5 }));
  const parameters = weights.map(({ tensor }) => tensor.requireGrad());
  const optimizer = new AdamW(parameters);
  const expected = reference(
    mlp,
    x.values,
    weights.map(({ values }) => values),
    target.values,
  );
  return {
    body: () => {
      const y = parameters.reduce(
        (h, weight, i) => linear(h, weight, null, i < parameters.length - 1 ? { activation: 'relu' } : {}),
        x.tensor,
      );
      const loss = mean(square(sub(y, target.tensor)));
      optimizer.step(backward(loss, parameters));
      return [loss, optimizer.gradNorm];
    },
    references: [() => expected.loss, () => expected.norm],
  };
}

export const trainStepCases: readonly BenchCase[] = shapes.map((mlp) => {
  const { set, batch, widths } = mlp;
  const weights = widths.slice(1).reduce((sum, to, i) => sum + to * widths[i]!, 0);
  return {
    op: 'MLP step with AdamW',
    set,
    shape: `${widths.join('-')} b${batch}`,
    dtype: 'f32',
    flops: 3 * 2 * batch * weights, // as is usual: three times the forward
    prepare: (device) => prepare(device, mlp),
  };
});
