/** Levels of a flow between its first and its last one, spaced as FlowMatchEulerDiscreteScheduler can space them. */
import { linspace } from './linspace.js';

/** How levels lie between the first and the last. */
export type SigmaSpacing = 'karras' | 'exponential' | 'beta';

/**
 * As many levels as were given, between the first and the last of them:
 * - karras: even in sigma^(1/7) (Karras et al. 2022, eq. 5);
 * - exponential: even in ln sigma;
 * - beta: at the quantiles of the distribution Beta(0.6, 0.6) (Lee et al. 2024).
 */
export function respacedSigmas(sigmas: readonly number[], spacing: SigmaSpacing): number[] {
  const [first, last, count] = [sigmas[0]!, sigmas.at(-1)!, sigmas.length];
  switch (spacing) {
    case 'karras':
      return linspace(first ** (1 / 7), last ** (1 / 7), count).map((root) => root ** 7);
    case 'exponential':
      return linspace(Math.log(first), Math.log(last), count).map(Math.exp);
    case 'beta':
      return linspace(0, 1, count).map((part) => last + (first - last) * betaQuantile(1 - part, 0.6));
  }
}

/** The value below which a share `p` of the symmetric distribution Beta(a, a) lies, by bisection to the last bit. */
export function betaQuantile(p: number, a: number): number {
  if (p > 0.5) return 1 - betaQuantile(1 - p, a);
  let [low, high] = [0, 0.5];
  for (;;) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) return middle;
    if (lowerShare(middle, a) < p) low = middle;
    else high = middle;
  }
}

/**
 * The share of Beta(a, a) below x <= 1/2, relative to that below 1/2, which is one half: the incomplete beta integral by its
 * power series x^a sum_n (1 - a)_n / n! x^n / (a + n) (Abramowitz and Stegun, 6.6.8 with 15.1.1). The terms fall at least as 2^-n.
 */
const lowerShare = (x: number, a: number): number => (0.5 * incompleteBeta(x, a)) / incompleteBeta(0.5, a);

function incompleteBeta(x: number, a: number): number {
  let [factor, sum] = [1, 0];
  for (let n = 0; n < 64; n++) {
    sum += factor / (a + n);
    factor *= ((n + 1 - a) / (n + 1)) * x;
  }
  return x ** a * sum;
}
