/**
 * Gaussian transitions, the steps of stochastic samplers: next = mean + std noise, with a mean linear in the latents x and
 * the network's output v. Flow SDEs, DDIM and CPS differ only in the coefficients, which are data: one captured step
 * serves every timestep, and each sample may be at its own.
 */
import * as plans from '../../kernels/gaussian_step.js';
import { check } from '../errors.js';
import { defineOp, dispatch } from '../tensor/op.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { noGrad } from '../tensor/tape.js';
import { empty, emptyLike, type Tensor } from '../tensor/tensor.js';

/** One sample's transition: mean = x * latents + v * output, log p = offset - scale * mean((next - mean)^2). */
export interface GaussianCoefficients {
  readonly x: number;
  readonly v: number;
  /** Standard deviation of the noise; 0 is a deterministic step. */
  readonly std: number;
  /** 1 / (2 std^2) for the log density; 0 for a deterministic step, whose log probability is 0 without gradient. */
  readonly scale: number;
  /** -ln std - ln sqrt(2 pi) for the log density. */
  readonly offset: number;
}

/** Number of columns of a coefficients tensor [N, 5]. */
export const gaussianColumns = 5;

/** The values of a coefficients tensor [N, 5], one row a sample: for `tensor` or `write`. */
export const packGaussianCoefficients = (rows: readonly GaussianCoefficients[]): number[] =>
  rows.flatMap(({ x, v, std, scale, offset }) => [x, v, std, scale, offset]);

/** Checks tensors of one shape [N, ...] and their coefficients; returns N and the elements of a sample. */
function checkInputs(named: Readonly<Record<string, Tensor>>, coefficients: Tensor): [samples: number, size: number] {
  const [first] = Object.values(named) as [Tensor];
  for (const [name, part] of Object.entries(named)) {
    const fits = part.dtype === 'f32' && part.rank >= 1 && sameShape(part.shape, first.shape);
    check(fits, () => `${name} is ${part}, expected ${formatShape(first.shape)} f32, at least one axis`);
  }
  const samples = first.shape[0]!;
  const fits = coefficients.dtype === 'f32' && sameShape(coefficients.shape, [samples, gaussianColumns]);
  check(fits, () => `coefficients are ${coefficients}, expected [${samples}, ${gaussianColumns}] f32`);
  return [samples, first.size / samples];
}

/**
 * The mean a x + b v alone: a deterministic step, or a prediction of the clean sample. x and v are [N, ...] f32,
 * coefficients [N, 5] (GaussianCoefficients). No gradient.
 */
export const gaussianMean = defineOp('gaussianMean', (x: Tensor, v: Tensor, coefficients: Tensor) => {
  const [samples, size] = checkInputs({ x, v }, coefficients);
  const next = emptyLike(x);
  dispatch(plans.planGaussianStep(samples, size, false), { x, v, noise: null, coefficients, next });
  return [next];
});

/**
 * The next latents alone, a x + b v + std noise: a step of which nothing is learned. x, v and noise are [N, ...] f32,
 * coefficients [N, 5]. No gradient.
 */
export const gaussianNext = defineOp('gaussianStep', (x: Tensor, v: Tensor, noise: Tensor, coefficients: Tensor) => {
  const [samples, size] = checkInputs({ x, v, noise }, coefficients);
  const next = emptyLike(x);
  dispatch(plans.planGaussianStep(samples, size, true), { x, v, noise, coefficients, next });
  return [next];
});

/**
 * The log probability [N] of `next` under the transition from x, averaged over a sample's elements as all GRPO samplers
 * do, and the transition's mean [N, ...]. The gradient flows to v alone; x and next are constants.
 * A deterministic step (std 0) has log probability 0 and no gradient through it.
 */
export const gaussianLogProb = defineOp(
  'gaussianLogProb',
  (v: Tensor, x: Tensor, next: Tensor, coefficients: Tensor) => {
    const [samples, size] = checkInputs({ v, x, next }, coefficients);
    const mean = emptyLike(x);
    const logProb = empty(x.device, [samples]);
    const partials = empty(x.device, [samples, plans.gaussianChunks(size)]);
    dispatch(plans.planGaussianLogProb(samples, size), { x, v, next, coefficients, mean, partials });
    dispatch(plans.planGaussianLogProbJoin(samples, size), { partials, coefficients, log_prob: logProb });
    return [
      [logProb, mean] as const,
      ([dLogProb, dMean]) => [
        () => {
          const dv = emptyLike(v);
          const given = { logProb: dLogProb !== undefined, mean: dMean !== undefined };
          const incoming = { d_log_prob: dLogProb ?? null, d_mean: dMean ?? null };
          const plan = plans.planGaussianLogProbGrad(samples, size, given);
          dispatch(plan, { next, mean, coefficients, ...incoming, dv });
          return dv;
        },
      ],
    ];
  },
);

/**
 * One step: next = a x + b v + std noise, with the mean and the log probability [N] of next. That is computed from the
 * stored next by gaussianLogProb itself, so that a policy which has not changed gives the same bits again in training.
 * x, v and noise are [N, ...] f32, coefficients [N, 5]. No gradient flows through sampling.
 */
export function gaussianStep(
  x: Tensor,
  v: Tensor,
  noise: Tensor,
  coefficients: Tensor,
): { next: Tensor; mean: Tensor; logProb: Tensor } {
  return noGrad(() => {
    const next = gaussianNext(x, v, noise, coefficients);
    const [logProb, mean] = gaussianLogProb(v, x, next, coefficients);
    return { next, mean, logProb };
  });
}
