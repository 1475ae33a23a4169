/**
 * Losses on rows of the forward process: a flow's final latents x0 are mixed with noise e again, x_t = (1 - t) x0 + t e with t in
 * (0, 1], and the policy's velocity v(x_t, t) is drawn to the target u = e - x0, or driven from it, by the sample's advantage.
 * Neither log probabilities of a sampler nor its path are needed. All are differentiable, and safe in a captured step.
 */
import { check } from '../../engine/errors.js';
import {
  abs,
  add,
  clamp,
  div,
  maximum,
  mean,
  mul,
  neg,
  noGrad,
  reshape,
  sqrt,
  square,
  sub,
  type Tensor,
} from '../../engine/index.js';
import { formatShape, sameShape } from '../../engine/tensor/shape.js';
import type { AwmWeight } from '../config.js';
import { average } from './loss.js';

/** Rows of the forward process. */
export interface ForwardRows {
  /** x_t, [N, ...] f32: what the network sees. */
  readonly latents: Tensor;
  /** u = e - x0, [N, ...] f32: the velocity that leads from x0 to the noise. */
  readonly target: Tensor;
}

/** x_t and u of final latents x0 and noise e, both [N, ...] f32, at levels t [N] f32 in (0, 1]. */
export function forwardRows(clean: Tensor, noise: Tensor, level: Tensor): ForwardRows {
  const t = reshape(level, [clean.shape[0]!, ...clean.shape.slice(1).map(() => 1)]);
  return { latents: add(mul(clean, complement(t)), mul(noise, t)), target: sub(noise, clean) };
}

/** What both losses compare: predictions of the policy and of the one that sampled, and the target, for the same rows. */
export interface MatchedRows {
  /** v, [N, ...] f32; the gradient flows to it alone. */
  readonly prediction: Tensor;
  /** v_old, [N, ...] f32: with one optimizer step a rollout v itself, without gradient. */
  readonly old: Tensor;
  /** u, [N, ...] f32. */
  readonly target: Tensor;
  /** t, [N] f32. */
  readonly level: Tensor;
  /** A, [N] f32. */
  readonly advantages: Tensor;
}

export interface NftOptions {
  /** beta, above 0. */
  readonly beta: number;
  /** What advantages are clamped to, plus and minus: it maps them to a probability, and scales the loss. */
  readonly advantageMax: number;
  /** As in policyLoss(): each row's share [N] of the update's mean. Default 1 / N. */
  readonly shares?: Tensor;
}

/** The least that a row's mean error counts as where its square is divided by it. */
const leastError = 1e-5;

/**
 * DiffusionNFT's loss (Zheng et al. 2025, arXiv 2509.16117, eq. 5 with its adaptive weight): with the optimality probability
 * rho = clamp(A / (2 A_max) + 1/2, 0, 1) and the implicit policies v+ = v_old + beta (v - v_old), v- = v_old - beta (v - v_old),
 * whose errors in the clean sample are e+- = t (v+- - u),
 * loss = A_max / beta mean[rho mean(e+^2) / w+ + (1 - rho) mean(e-^2) / w-], w+- = max(mean |e+-|, 1e-5) without gradient.
 * At v = v_old its gradient is that of A t^2 mean((v - u)^2) / w, whatever beta, and exactly 0 where A is 0. -> scalar f32.
 */
export function nftLoss(
  { prediction, old, target, level, advantages }: MatchedRows,
  { beta, advantageMax, shares }: NftOptions,
): Tensor {
  check(
    beta > 0 && advantageMax > 0,
    `nftLoss: expected beta and advantageMax above 0, found ${beta}, ${advantageMax}`,
  );
  checkMatched('nftLoss', { prediction, old, target }, { level, advantages, ...(shares && { shares }) });
  const before = old.detach();
  const departure = mul(sub(prediction, before), beta);
  const times = level.detach();
  /** mean(e^2) / w of an implicit policy, [N]. */
  const normalised = (implicit: Tensor): Tensor => {
    const error = sub(implicit, target.detach());
    const weight = noGrad(() => {
      const size = maximum(mul(meanOfRows(abs(error)), times), leastError);
      return div(square(times), size);
    });
    return mul(meanOfRows(square(error)), weight);
  };
  const rho = noGrad(() => clamp(add(mul(advantages.detach(), 1 / (2 * advantageMax)), 0.5), 0, 1));
  const good = mul(normalised(add(before, departure)), rho);
  const bad = mul(normalised(sub(before, departure)), complement(rho));
  return mul(average(add(good, bad), shares), advantageMax / beta);
}

/** The power of AWM's generalised Huber weight. */
const ghuberPower = 0.25;

/** Added to a squared error whose root is taken. */
const rootEps = 1e-10;

/**
 * What AWM takes for a log probability (Xue et al. 2025, arXiv 2509.25050): minus the weighted squared error l = mean((v - u)^2) of
 * each row, [N] f32. Weights, with d = 1e-10: uniform l, t: t l, t2: t^2 l, huber t (sqrt(l + d) - sqrt(d)), and ghuber
 * t ((l + d)^p - d^p) / p with p = 1/4.
 */
export function awmLogProb(prediction: Tensor, target: Tensor, level: Tensor, weight: AwmWeight): Tensor {
  checkMatched('awmLogProb', { prediction, target }, { level });
  const error = meanOfRows(square(sub(prediction, target.detach())));
  const t = level.detach();
  const rootOf = (power: number, root: (x: Tensor) => Tensor): Tensor =>
    sub(root(add(error, rootEps)), rootEps ** power);
  const weighted = {
    uniform: () => error,
    t: () => mul(error, t),
    t2: () => mul(error, square(t)),
    huber: () => mul(rootOf(1 / 2, sqrt), t),
    ghuber: () =>
      mul(
        mul(
          rootOf(ghuberPower, (x) => sqrt(sqrt(x))),
          t,
        ),
        1 / ghuberPower,
      ),
  }[weight]();
  return neg(weighted);
}

/** The mean of each row, [N, ...] to [N]. */
const meanOfRows = (x: Tensor): Tensor => mean(x, x.shape.map((_, i) => i).slice(1));

/** 1 - x. */
const complement = (x: Tensor): Tensor => add(neg(x), 1);

/** Checks tensors of one shape [N, ...], and rows [N] beside them, all f32. */
function checkMatched(
  name: string,
  matched: Readonly<Record<string, Tensor>>,
  rows: Readonly<Record<string, Tensor>>,
): void {
  const { prediction } = matched as { prediction: Tensor };
  check(prediction.rank >= 2, () => `${name}: the prediction is ${prediction}, expected [N, ...] f32`);
  const expected = [
    ...Object.entries(matched).map((each) => [...each, prediction.shape] as const),
    ...Object.entries(rows).map((each) => [...each, prediction.shape.slice(0, 1)] as const),
  ];
  for (const [other, tensor, shape] of expected)
    check(
      tensor.dtype === 'f32' && sameShape(tensor.shape, shape),
      () => `${name}: ${other} is ${tensor}, expected ${formatShape(shape)} f32`,
    );
}
