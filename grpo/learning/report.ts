/** What an optimizer step tells of its loss, by the loss it learns by. */
import type { GrpoConfig } from '../config.js';
import { keepsPredictions } from './losses.js';

/** What ratios of the policy's probabilities say, where a loss has them: averages over the rows that were computed. */
export interface RatioReport {
  readonly approxKL: number;
  /** Share of ratios outside the clip range; above it; below it. */
  readonly clipFraction: number;
  readonly clipFractionHigh: number;
  readonly clipFractionLow: number;
  readonly ratioMean: number;
  /** The largest |ratio - 1|. */
  readonly ratioDeviation: number;
}

/** What one optimizer step learns from: losses averaged over all rows. */
export interface LearningReport extends Partial<RatioReport> {
  readonly policyLoss: number;
  /** Divergence from the reference, without its weight. */
  readonly kl: number;
  /** The largest difference of a prediction from the one before the rollout's first optimizer step, where those are kept. */
  readonly predictionDeviation?: number;
}

/** The averages that add up over micro-batches, where a loss has ratios. */
export const ratioAverages = [
  'policyLoss',
  'kl',
  'approxKL',
  'clipFraction',
  'clipFractionHigh',
  'clipFractionLow',
  'ratioMean',
] as const;

export type RatioAverage = (typeof ratioAverages)[number];

/** What a loss measures: the averages' names in their order, and what its largest departure from the old policy is of. */
export interface LossMeasures {
  readonly averages: readonly string[];
  /** Absent where nothing of the old policy is kept. */
  readonly departure?: 'ratioDeviation' | 'predictionDeviation';
}

export function measuresOf(grpo: Pick<GrpoConfig, 'loss' | 'updates_per_rollout'>): LossMeasures {
  if (grpo.loss !== 'nft') return { averages: ratioAverages, departure: 'ratioDeviation' };
  const averages = ['policyLoss', 'kl'];
  return keepsPredictions(grpo) ? { averages, departure: 'predictionDeviation' } : { averages };
}
