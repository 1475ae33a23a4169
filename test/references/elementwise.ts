/** Elementwise functions in double precision. */
import type { Host } from '../host.js';

/** Broadcasts by numpy's rule and applies `f` to each set of elements. */
export function elementwise(f: (...values: number[]) => number, ...inputs: Host[]): Host {
  const rank = Math.max(...inputs.map(({ shape }) => shape.length));
  const padded = inputs.map(({ shape }) => [...Array(rank - shape.length).fill(1), ...shape] as number[]);
  const shape = Array.from({ length: rank }, (_, axis) => Math.max(...padded.map((sizes) => sizes[axis]!)));
  const size = shape.reduce((product, n) => product * n, 1);
  const data = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    data[i] = f(...inputs.map((input, k) => input.data[offset(i, shape, padded[k]!)]!));
  }
  return { shape, data };
}

function offset(index: number, shape: readonly number[], sizes: readonly number[]): number {
  let rest = index;
  let at = 0;
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    at += sizes[axis] === 1 ? 0 : (rest % shape[axis]!) * stride;
    rest = Math.floor(rest / shape[axis]!);
    stride *= sizes[axis]!;
  }
  return at;
}

/** erf by its Taylor series for small arguments, and by a continued fraction of erfc (Abramowitz and Stegun 7.1.14) beyond. */
export function erf(x: number): number {
  const m = Math.abs(x);
  if (m < 2.5) {
    let term = m;
    let sum = m;
    for (let n = 1; n < 100; n++) {
      term *= (-m * m) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  return Math.sign(x) * (1 - erfcTail(m));
}

function erfcTail(x: number): number {
  let fraction = x;
  for (let n = 120; n >= 1; n--) fraction = x + n / 2 / fraction;
  return Math.exp(-x * x) / (fraction * Math.sqrt(Math.PI));
}

/** The normal distribution's cdf, exact also in its lower tail. */
export function normalCdf(x: number): number {
  const u = -x / Math.SQRT2;
  return u > 2.5 ? erfcTail(u) / 2 : (1 - erf(u)) / 2;
}
