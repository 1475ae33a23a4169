/**
 * Weights of trained rows by their steps: the gradient of a step's log probability grows as 1 / std, so that without weights the
 * last steps, whose noise is tiny, outweigh the first ones (TempFlow-GRPO, He et al. 2025, arXiv 2508.04324; GRPO-Guard, Wang
 * et al. 2025, arXiv 2510.22319).
 */
import { mean, mul, noGrad, sub, type Tensor } from '../../engine/index.js';
import type { GaussianCoefficients } from '../../engine/ops/gaussian.js';
import type { GrpoConfig } from '../config.js';
import type { Transition } from '../sampling/transitions.js';

type WeightKeys = Pick<GrpoConfig, 'row_weights' | 'updates_per_rollout'>;

/**
 * Whether ratios are GRPO-Guard's own, for which the rollout's predictions are kept. With one optimizer step a rollout every
 * ratio is 1 and a weight of the row has the same gradient.
 */
export const hasGuardedRatio = ({ row_weights: weights, updates_per_rollout: steps }: WeightKeys): boolean =>
  weights === 'guard' && steps > 1;

/**
 * The factors of the advantages of one trajectory's trained steps.
 * - tempflow: std / mean(std), with the mean over these steps.
 * - guard: 1 / |d| with d = sigmaNext - sigma (1 for diffusion) where the ratio is GRPO-Guard's, and otherwise what makes the
 *   plain gradient its own: its log ratio is mean(z dm), with the noise z and the difference dm of the means, and at ratio 1
 *   the plain one changes by 2 scale std mean(z dm), so that the factor is 1 / (2 scale std |d|); of log densities std / |d|.
 * A step without noise has no log probability, and weight 0.
 */
export function rowWeights(keys: WeightKeys, steps: readonly Pick<Transition, 'step' | 'interval'>[]): number[] {
  switch (keys.row_weights) {
    case 'none':
      return steps.map(() => 1);
    case 'tempflow': {
      const sum = steps.reduce((total, { step }) => total + step.std, 0);
      return steps.map(({ step: { std } }) => (std === 0 ? 0 : (std * steps.length) / sum));
    }
    case 'guard':
      return steps.map(({ step: { std, scale }, interval }) => {
        if (std === 0) return 0;
        return 1 / (interval * (hasGuardedRatio(keys) ? 1 : 2 * scale * std));
      });
  }
}

/** The factor of guardedLogRatio() for a step, v / std; 0 for one without noise. */
export const guardFactor = ({ v, std }: GaussianCoefficients): number => (std > 0 ? v / std : 0);

/** What guardedLogRatio() compares, all [N, ...] f32: predictions before and now, and how far the noise led from the old mean. */
export interface GuardedRows {
  readonly prediction: Tensor;
  /** What the rollout took in its place. */
  readonly old: Tensor;
  /** next - old mean = std z. */
  readonly noise: Tensor;
}

/**
 * GRPO-Guard's log ratio of each row, std (logProb - oldLogProb + mean(dm^2) / (2 std^2)) of log densities, [N] f32: the mean of z
 * times the difference of the means dm = b (v - v_old), which is the same without its cancellations and is exactly 0
 * while the policy is the one that sampled. `factors` [N] are those of guardFactor(). The gradient flows to `prediction` alone.
 */
export function guardedLogRatio({ prediction, old, noise }: GuardedRows, factors: Tensor): Tensor {
  const axes = prediction.shape.map((_, i) => i).slice(1);
  const [before, drawn] = noGrad(() => [old.detach(), noise.detach()] as const);
  return mul(mean(mul(drawn, sub(prediction, before)), axes), factors.detach());
}
