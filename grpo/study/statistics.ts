/** What can be said of a difference between two methods, from runs with the same seeds and pictures of the same prompts. */
import { check } from '../../engine/errors.js';
import { type Estimate, estimateMean } from '../evaluate.js';

/** A value for each prompt, of each seed. */
export type Measured = readonly (readonly number[])[];

export const meanOf = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * The difference between two methods with its 95 % interval. With a_sp and b_sp the values of seed s and prompt p, and P prompts,
 *
 *   d_s = 1/P sum_p (a_sp - b_sp),    d ± t(S - 1) sd(d) / sqrt(S)    over the S seeds.
 *
 * Prompts and noises are the same for both, so what they differ by cancels; the seed is the unit, as pictures of one run share
 * its training. Of one seed the interval is infinite. Throws a CheckError where seeds or prompts do not pair.
 */
export function pairedDifference(a: Measured, b: Measured): Estimate {
  check(a.length === b.length, `paired difference: ${a.length} seeds and ${b.length}, expected as many`);
  const differences = a.map((values, s) => {
    const others = b[s]!;
    check(
      values.length === others.length,
      `paired difference: ${values.length} prompts and ${others.length} of a seed`,
    );
    return meanOf(values.map((value, p) => value - others[p]!));
  });
  return estimateMean(differences);
}

/** Holds or fails: the interval lies on one side. Open: it does not decide. */
export type Verdict = 'holds' | 'open' | 'fails';

/**
 * The word for a claim, from the interval of the difference. «More» is decided by 0; «at least» by -margin: it holds where all
 * of the interval is above, fails where all of it is below.
 */
export function verdictOf({ low, high }: Pick<Estimate, 'low' | 'high'>, margin = 0): Verdict {
  const border = margin === 0 ? 0 : -margin;
  if (low > border) return 'holds';
  return high < border ? 'fails' : 'open';
}
