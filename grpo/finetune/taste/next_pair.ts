/** Which pair to ask about next: the one that the fitted taste is least sure of. */
import { UsageError } from '../errors.js';
import type { Features } from './features.js';
import type { Head } from './fit.js';

/** A picture that may be shown. Only pictures of one prompt make a pair. */
export interface Candidate {
  readonly prompt: string;
  readonly features: Features;
}

/**
 * The places of the pair whose order the taste is least sure of: the expected difference in utility over its deviation, given
 * the votes so far, is nearest to 0. Before there is a taste, and after an odd number of votes, it is the first pair of one
 * prompt: were all pairs close ones, the votes would seem not to agree with one another. Throws a UsageError where no prompt has
 * two pictures.
 */
export function nextPair(
  taste: Head | undefined,
  candidates: readonly Candidate[],
  { votes = 0 }: { /** Votes so far. Default 0. */ readonly votes?: number } = {},
): [number, number] {
  let best: [number, number] | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const [i, a] of candidates.entries()) {
    for (let j = i + 1; j < candidates.length; j++) {
      const b = candidates[j]!;
      if (a.prompt !== b.prompt) continue;
      if (!taste || votes % 2 === 1) return [i, j];
      const { mean, variance } = taste.difference(a.features, b.features);
      // A taste without strength has no opinion, and no doubt, on any pair.
      const sureness = variance > 0 ? Math.abs(mean) / Math.sqrt(variance) : Number.MAX_VALUE;
      if (sureness < least) [best, least] = [[i, j], sureness];
    }
  }
  if (!best) throw new UsageError('rate: expected two pictures of one prompt to choose between');
  return best;
}
