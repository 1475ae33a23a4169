/** Which pair to ask about next: the one whose vote would tell most of a taste. */
import { UsageError } from '../errors.js';
import type { Features } from './features.js';
import type { Head } from './fit.js';
import { sigmoid } from './logistic.js';

/** A picture that may be shown. Only pictures of one prompt make a pair. */
export interface Candidate {
  readonly prompt: string;
  readonly features: Features;
}

/**
 * The places of the pair that the fitted taste is least sure of. That is the one whose vote would tell most of the taste, as
 * worthOf() has it: a pair that is close to equal by the votes so far, and whose difference is not known to be small. Before
 * there is a taste it is the first pair of one prompt. Throws a UsageError where no prompt has two pictures.
 */
export function nextPair(taste: Head | undefined, candidates: readonly Candidate[]): [number, number] {
  let best: [number, number] | undefined;
  let most = Number.NEGATIVE_INFINITY;
  for (const [i, a] of candidates.entries()) {
    for (let j = i + 1; j < candidates.length; j++) {
      const b = candidates[j]!;
      if (a.prompt !== b.prompt) continue;
      if (!taste) return [i, j];
      const worth = worthOf(taste.difference(a.features, b.features));
      if (worth > most) [best, most] = [[i, j], worth];
    }
  }
  if (!best) throw new UsageError('rate: expected two pictures of one prompt to choose between');
  return best;
}

/** Deviations to either side, and between points, of the sum that stands for an integral over a normal distribution. */
const [reach, step] = [4, 0.25];

/**
 * What a vote tells, in nats: the entropy of the expected vote less the expected entropy of the vote (Houlsby et al. 2011),
 * over a difference in utility that is normal.
 */
export function worthOf({ mean, variance }: ReturnType<Head['difference']>): number {
  const deviation = Math.sqrt(variance);
  let [mass, preferred, entropy] = [0, 0, 0];
  for (let t = -reach; t <= reach; t += step) {
    const weight = Math.exp((-t * t) / 2);
    const p = sigmoid(mean + t * deviation);
    mass += weight;
    preferred += weight * p;
    entropy += weight * entropyOf(p);
  }
  return entropyOf(preferred / mass) - entropy / mass;
}

const entropyOf = (p: number): number => (p <= 0 || p >= 1 ? 0 : -p * Math.log(p) - (1 - p) * Math.log1p(-p));
