/** The clipped policy loss and the divergence from the reference policy, of tensors: differentiable, and safe in a captured step. */
import { check } from '../../engine/errors.js';
import {
  abs,
  add,
  cast,
  clamp,
  exp,
  type GaussianCoefficients,
  greater,
  less,
  max,
  maximum,
  mean,
  mul,
  neg,
  noGrad,
  square,
  sub,
  sum,
  type Tensor,
} from '../../engine/index.js';
import { formatShape, sameShape } from '../../engine/tensor/shape.js';
import type { KLForm } from '../config.js';

export interface PolicyLossOptions {
  /** Half the width of the range around 1 outside which a ratio earns nothing more: epsilon. */
  readonly clip: number;
  /**
   * Each row's share [N] of the update's mean, 1 / (rows of all micro-batches): then losses, diagnostics and gradients of
   * micro-batches add up to those of the whole update, and rows that only fill up a batch have share 0. Default 1 / N.
   */
  readonly shares?: Tensor;
}

/** Sums of row * share, each a scalar; they add up over micro-batches as the loss does. */
export interface PolicyDiagnostics {
  /** Half the mean square of logProb - oldLogProb. */
  readonly approxKL: Tensor;
  /** Share of ratios outside the clip range; above it; below it. */
  readonly clipFraction: Tensor;
  readonly clipFractionHigh: Tensor;
  readonly clipFractionLow: Tensor;
  readonly ratioMean: Tensor;
  /** The largest |ratio - 1| of all rows, whatever their share; 0 exactly while the policy is the one that sampled. */
  readonly ratioDeviation: Tensor;
}

export interface PolicyLoss {
  /** Scalar, f32: the mean of max(-A r, -A clip(r, 1 - epsilon, 1 + epsilon)). */
  readonly loss: Tensor;
  /** exp(logProb - oldLogProb), [N]. */
  readonly ratio: Tensor;
  readonly diagnostics: PolicyDiagnostics;
}

/**
 * PPO's clipped loss (Schulman et al. 2017, eq. 7, as GRPO uses it; Pro-GRPO eq. 6) of rows, each a step of a trajectory. All
 * three tensors are [N] f32; the gradient flows to logProb alone. Inside the range both sides of the maximum are equal
 * and each passes half of the gradient -A r, so that it is whole.
 */
export function policyLoss(
  logProb: Tensor,
  oldLogProb: Tensor,
  advantages: Tensor,
  { clip, shares }: PolicyLossOptions,
): PolicyLoss {
  check(clip > 0 && clip < 1, `policyLoss: expected a clip range between 0 and 1, found ${clip}`);
  checkRows('policyLoss', logProb, { oldLogProb, advantages, ...(shares && { shares }) });
  const difference = sub(logProb, oldLogProb.detach());
  const ratio = exp(difference);
  const weight = neg(advantages.detach());
  const worse = maximum(mul(weight, ratio), mul(weight, clamp(ratio, 1 - clip, 1 + clip)));
  const loss = average(worse, shares);
  const diagnostics = noGrad(() => {
    const high = average(cast(greater(ratio, 1 + clip), 'f32'), shares);
    const low = average(cast(less(ratio, 1 - clip), 'f32'), shares);
    return {
      approxKL: mul(average(square(difference), shares), 0.5),
      clipFraction: add(high, low),
      clipFractionHigh: high,
      clipFractionLow: low,
      ratioMean: average(ratio, shares),
      ratioDeviation: max(abs(sub(ratio, 1))),
    };
  });
  return { loss, ratio, diagnostics };
}

/**
 * The factor f of one step's divergence f mean_D (v - v_ref)^2 between the policy's and the reference's predictions v and
 * v_ref. The transitions' means a x + b v differ by b (v - v_ref), so that
 * - gaussian: f = b^2 / (2 std^2), the divergence of the two transitions per dimension;
 * - flow-grpo: f = b^2 / (2 c^2) with c = std / sqrt(interval), the diffusion coefficient: smaller by the interval
 *   sigma - sigmaNext (Flow-GRPO's kl_loss). Diffusion's DDIM has no such interval: 1;
 * - velocity: f = 1, the same weight for every step.
 * Throws for a deterministic step, except in the velocity's form.
 */
export function klFactor(form: KLForm, { v, std }: GaussianCoefficients, interval = 1): number {
  if (form === 'velocity') return 1;
  check(std > 0, `klFactor: a step without noise has no divergence of the form ${form}`);
  check(interval > 0, `klFactor: expected a positive interval, found ${interval}`);
  return ((v * v) / (2 * std * std)) * (form === 'flow-grpo' ? interval : 1);
}

/**
 * The divergence of each row from the reference policy, averaged over rows: predictions [N, ...] f32 under the policy and the
 * reference for the same latents, factors [N] of klFactor(), shares as in policyLoss(). The gradient flows to
 * `prediction` alone. The difference of the predictions, not of the means, is squared: it does not cancel. -> scalar f32.
 */
export function referenceKL(prediction: Tensor, reference: Tensor, factors: Tensor, shares?: Tensor): Tensor {
  check(
    sameShape(prediction.shape, reference.shape) && prediction.rank >= 2,
    () => `referenceKL: the prediction is ${prediction}, the reference ${reference}; expected one shape [N, ...]`,
  );
  const axes = prediction.shape.map((_, i) => i).slice(1);
  const distance = mean(square(sub(prediction, reference.detach())), axes); // [N]
  checkRows('referenceKL', distance, { factors, ...(shares && { shares }) });
  return average(mul(distance, factors.detach()), shares);
}

/** The mean of rows [N], or the sum of rows * shares. -> scalar f32. */
export const average = (rows: Tensor, shares?: Tensor): Tensor =>
  shares ? sum(mul(rows, shares.detach())) : mean(rows);

function checkRows(name: string, rows: Tensor, others: Readonly<Record<string, Tensor>>): void {
  check(rows.rank === 1 && rows.dtype === 'f32', () => `${name}: expected rows [N] f32, found ${rows}`);
  for (const [other, tensor] of Object.entries(others)) {
    const fits = tensor.dtype === 'f32' && sameShape(tensor.shape, rows.shape);
    check(fits, () => `${name}: ${other} is ${tensor}, expected ${formatShape(rows.shape)} f32`);
  }
}
