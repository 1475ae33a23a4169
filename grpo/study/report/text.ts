/** Numbers and sentences of a report. */
import type { Estimate } from '../../evaluate.js';
import type { TestedClaim } from '../findings.js';

const signed = (value: number, digits: number): string => `${value < 0 ? '' : '+'}${value.toFixed(digits)}`;

/** `1.912 ± 0.042`; the mean alone where there is but one value. */
export function formatEstimate({ mean, high, count }: Estimate, digits: number): string {
  return count > 1 ? `${mean.toFixed(digits)} ± ${(high - mean).toFixed(digits)}` : mean.toFixed(digits);
}

/** `+0.104 (-0.017 to +0.225)`. */
export function formatDifference({ mean, low, high, count }: Estimate, digits: number): string {
  const interval = count > 1 ? `${signed(low, digits)} to ${signed(high, digits)}` : 'one seed, no interval';
  return `${signed(mean, digits)} (${interval})`;
}

/** The row of a claim: what it says, in what, the difference with its interval, seeds, verdict. */
export function claimCells({ claim, difference, verdict }: TestedClaim): string[] {
  const { says, quantity, margin } = claim;
  const within = margin === undefined ? '' : `; at least, within ${margin}`;
  return [
    says,
    `${quantity.name}${within}`,
    difference ? formatDifference(difference, quantity.digits) : '–',
    difference ? String(difference.count) : '–',
    verdict,
  ];
}

export const claimHead = ['claim', 'in', 'difference (95 % interval)', 'seeds', 'verdict'] as const;

/** Claims of one verdict, as sentences with the difference. */
export interface Summary {
  readonly head: string;
  readonly sentences: readonly string[];
}

const heads = {
  holds: 'Held, in miniature',
  open: 'Open: the interval includes what decides',
  fails: 'Failed',
  'not measured': 'Not measured',
} as const satisfies Record<TestedClaim['verdict'], string>;

/** What a reader should take away, with what did not hold as plainly as what did. */
export function summaryOf(claims: readonly TestedClaim[]): Summary[] {
  const verdicts = Object.keys(heads) as TestedClaim['verdict'][];
  return verdicts.flatMap((verdict) => {
    const sentences = claims
      .filter((each) => each.verdict === verdict)
      .map(({ claim, difference }) =>
        difference ? `${claim.says} ${formatDifference(difference, claim.quantity.digits)}` : claim.says,
      );
    return sentences.length > 0 ? [{ head: heads[verdict], sentences }] : [];
  });
}

/** What stands in front of every report. */
export const method = [
  'This is a miniature: a flow model of half a million parameters that draws 32 x 32 pictures of coloured shapes, rewarded by small learned preferences. It shows how the methods differ here; it does not show how they differ on Stable Diffusion.',
  'Recipes were fixed beforehand on the baseline alone, on other seeds (grpo/study/recipe.ts); all runs are reported, and seeds are consecutive from 0. Runs of one seed see the same prompts in the same order, and all are evaluated on the same captions and noises.',
  "A difference is the mean over prompts of a seed, then the mean over seeds with the 95 % interval of Student's t over seeds. A claim of «more» holds where the interval is above 0, fails where it is below, and is open where it includes 0; of «at least» the border is the margin below 0 that was fixed beforehand.",
  "FLOPs are those of sampling, decoding and training, without the rewards' networks. Seconds are those of updates alone, on the machine that is named: the methods take turns in one process, an update each in a round, so that what slows the machine for a while slows all of them.",
] as const;
