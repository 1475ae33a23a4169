/**
 * Bradley-Terry (1952) by ridge-regularised logistic regression, in double precision on the host and always in the same order:
 * the same votes give the same bits. With fewer votes than features it is solved over votes: of a prior N(0, K) of the
 * differences in utility, K = sum over groups of strength_g D_g D_g^T, which is ridge regression of weights with the
 * penalty |w_g|^2 / (2 strength_g). Newton's method is Algorithm 3.1 of Rasmussen and Williams 2006.
 */

/** A square matrix, row by row. */
export interface Matrix {
  readonly size: number;
  readonly values: Float64Array;
}

/** 1 / (1 + exp(-x)), without overflow. */
export const sigmoid = (x: number): number => (x >= 0 ? 1 / (1 + Math.exp(-x)) : 1 - 1 / (1 + Math.exp(x)));

/** -target log p - (1 - target) log(1 - p) where p = sigmoid(x): the loss of a vote, half of each way for a target of 1/2. */
export const logLoss = (x: number, target: number): number =>
  Math.max(x, 0) - target * x + Math.log1p(Math.exp(-Math.abs(x)));

/** What a regression found. */
export interface LogisticFit {
  /** The difference in utility of each vote's pictures is K `dual`; w_g = strength_g D_g^T `dual`. */
  readonly dual: Float64Array;
  /** K `dual`. */
  readonly differences: Float64Array;
  /** p (1 - p) of each vote. */
  readonly curvature: Float64Array;
  /** The lower triangle of the Cholesky factor of I + W^1/2 K W^1/2, W being the curvature. */
  readonly factor: Matrix;
  /** The sum of logLoss, and half of |w|^2 with its strengths. */
  readonly objective: number;
}

const mostSteps = 100;
const enough = 1e-12; // of a difference in utility
const rounding = 1e-12; // of the objective: near its minimum a step changes less than its sum is off

/** Minimises sum logLoss(f_i, target_i) + f^T K^-1 f / 2 over f = K dual. `targets` are 1, 0, or 1/2 for a draw. */
export function fitLogistic(kernel: Matrix, targets: readonly number[]): LogisticFit {
  const n = kernel.size;
  let dual: Float64Array = new Float64Array(n);
  let differences: Float64Array = new Float64Array(n);
  let objective = objectiveOf(dual, differences, targets);
  for (let step = 0; ; step++) {
    const p = differences.map(sigmoid);
    const curvature = p.map((value) => value * (1 - value));
    const factor = factorOf(kernel, curvature);
    if (step === mostSteps) return { dual, differences, curvature, factor, objective };
    const b = differences.map((f, i) => curvature[i]! * f + targets[i]! - p[i]!);
    const root = curvature.map(Math.sqrt);
    const product = times(kernel, b).map((value, i) => value * root[i]!);
    const solved = solveCholesky(factor, product);
    const next = b.map((value, i) => value - root[i]! * solved[i]!);
    // Newton's step is cut in halves until it leads down, which it does at once but far from the minimum.
    let moved = next;
    for (let share = 1; ; share /= 2) {
      moved = next.map((value, i) => dual[i]! + share * (value - dual[i]!));
      const found = times(kernel, moved);
      const reached = objectiveOf(moved, found, targets);
      const change = found.reduce((most, value, i) => Math.max(most, Math.abs(value - differences[i]!)), 0);
      if (change <= enough) return { dual: moved, differences: found, curvature, factor, objective: reached };
      if (reached > objective + rounding * Math.abs(objective)) continue;
      [dual, differences, objective] = [moved, found, reached];
      break;
    }
  }
}

function objectiveOf(dual: Float64Array, differences: Float64Array, targets: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < dual.length; i++) sum += logLoss(differences[i]!, targets[i]!) + (dual[i]! * differences[i]!) / 2;
  return sum;
}

/** The factor of I + W^1/2 K W^1/2. */
function factorOf({ size, values }: Matrix, curvature: Float64Array): Matrix {
  const root = curvature.map(Math.sqrt);
  const scaled = new Float64Array(size * size);
  for (let i = 0; i < size; i++)
    for (let j = 0; j <= i; j++) scaled[i * size + j] = (i === j ? 1 : 0) + root[i]! * root[j]! * values[i * size + j]!;
  return cholesky({ size, values: scaled });
}

/** The lower triangle L of A = L L^T, of whose matrix only the lower triangle is read. */
export function cholesky({ size, values }: Matrix): Matrix {
  const lower = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = values[i * size + j]!;
      for (let k = 0; k < j; k++) sum -= lower[i * size + k]! * lower[j * size + k]!;
      lower[i * size + j] = i === j ? Math.sqrt(sum) : sum / lower[j * size + j]!;
    }
  }
  return { size, values: lower };
}

/** L^-1 b. */
export function solveLower({ size, values }: Matrix, b: ArrayLike<number>): Float64Array {
  const x = Float64Array.from(b);
  for (let i = 0; i < size; i++) {
    for (let k = 0; k < i; k++) x[i]! -= values[i * size + k]! * x[k]!;
    x[i]! /= values[i * size + i]!;
  }
  return x;
}

/** (L L^T)^-1 b. */
function solveCholesky(lower: Matrix, b: ArrayLike<number>): Float64Array {
  const { size, values } = lower;
  const x = solveLower(lower, b);
  for (let i = size - 1; i >= 0; i--) {
    for (let k = i + 1; k < size; k++) x[i]! -= values[k * size + i]! * x[k]!;
    x[i]! /= values[i * size + i]!;
  }
  return x;
}

function times({ size, values }: Matrix, x: Float64Array): Float64Array {
  const product = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    let sum = 0;
    for (let j = 0; j < size; j++) sum += values[i * size + j]! * x[j]!;
    product[i] = sum;
  }
  return product;
}
