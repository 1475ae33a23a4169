/**
 * Coefficients of one sampling step, in double precision, for engine/ops/gaussian.ts.
 *
 * Flows: x = (1 - s) data + s noise, the network's v = noise - data, and s falls from 1 to 0. The predicted noise is
 * x + (1 - s) v, the predicted data x - s v. Papers that run time forward have the opposite v.
 *
 * Diffusion: x = sqrt(alpha) data + sqrt(1 - alpha) noise, alpha rises to 1, and the network predicts one of three things.
 */
import { check } from '../../engine/errors.js';
import type { GaussianCoefficients } from '../../engine/ops/gaussian.js';

/** A transition with the log density of a normal distribution; std 0 makes it deterministic. */
function normal(x: number, v: number, std: number): GaussianCoefficients {
  check(std >= 0 && Number.isFinite(std), `step: the standard deviation is ${std}`);
  if (std === 0) return { x, v, std, scale: 0, offset: 0 };
  return { x, v, std, scale: 1 / (2 * std * std), offset: -Math.log(std) - 0.5 * Math.log(2 * Math.PI) };
}

/** The noise levels of a flow step, 1 >= sigma > sigmaNext >= 0. */
export interface FlowStep {
  readonly sigma: number;
  readonly sigmaNext: number;
}

function checkFlow({ sigma, sigmaNext }: FlowStep): void {
  check(
    sigma <= 1 && sigma > sigmaNext && sigmaNext >= 0,
    `step: expected 1 >= sigma > sigmaNext >= 0, found ${sigma} and ${sigmaNext}`,
  );
}

/** Euler's step of the ordinary differential equation: x + (sigmaNext - sigma) v. */
export function eulerCoefficients(step: FlowStep): GaussianCoefficients {
  checkFlow(step);
  return normal(1, step.sigmaNext - step.sigma, 0);
}

/**
 * An Euler-Maruyama step of the flow's SDE with diffusion coefficient c, which keeps its marginals: with d < 0 the step,
 * mean = x + d [v + c^2 / (2 s) (x + (1 - s) v)], std = c sqrt(-d).
 * (Flow-GRPO, Liu et al. 2025; DanceGRPO, Xue et al. 2025.)
 */
export function sdeCoefficients(step: FlowStep, c: number): GaussianCoefficients {
  checkFlow(step);
  const { sigma, sigmaNext } = step;
  const d = sigmaNext - sigma;
  const score = (c * c) / (2 * sigma);
  return normal(1 + d * score, d * (1 + score * (1 - sigma)), c * Math.sqrt(-d));
}

/**
 * Flow-GRPO's step: c = noiseLevel sqrt(s / (1 - s)). At s = 1, where that is infinite, 1 - s is taken at `sigmaMax`, the
 * schedule's second sigma.
 */
export function flowSdeCoefficients(
  step: FlowStep & { readonly sigmaMax: number; readonly noiseLevel: number },
): GaussianCoefficients {
  const { sigma, sigmaMax, noiseLevel } = step;
  const bounded = sigma === 1 ? sigmaMax : sigma;
  check(bounded < 1, `step: sigmaMax must be below 1, found ${sigmaMax}`);
  return sdeCoefficients(step, noiseLevel * Math.sqrt(sigma / (1 - bounded)));
}

/** DanceGRPO's step: the SDE with the constant c = eta. */
export const danceCoefficients = (step: FlowStep & { readonly eta: number }): GaussianCoefficients =>
  sdeCoefficients(step, step.eta);

/**
 * Coefficients-preserving sampling (Flow-GRPO's later sampler): the noise of level s' is made of the predicted and of fresh
 * noise, std = s' sin(pi noiseLevel / 2), mean = (1 - s') (x - s v) + s' cos(pi noiseLevel / 2) (x + (1 - s) v).
 * Its log probability is -mean((next - mean)^2), without constants and without 1 / (2 std^2).
 */
export function cpsCoefficients(step: FlowStep & { readonly noiseLevel: number }): GaussianCoefficients {
  checkFlow(step);
  const { sigma, sigmaNext, noiseLevel } = step;
  const angle = (Math.PI / 2) * noiseLevel;
  const std = sigmaNext * Math.sin(angle);
  const kept = sigmaNext * Math.cos(angle);
  const x = 1 - sigmaNext + kept;
  const v = kept * (1 - sigma) - (1 - sigmaNext) * sigma;
  return { x, v, std, scale: std > 0 ? 1 : 0, offset: 0 };
}

/**
 * What a diffusion network predicts, under the names of scheduler_config.json: the noise e, the velocity
 * sqrt(alpha) e - sqrt(1 - alpha) data (Salimans and Ho 2022), or the clean sample.
 */
export const predictionTypes = ['epsilon', 'v_prediction', 'sample'] as const;
export type PredictionType = (typeof predictionTypes)[number];

/**
 * DDIM's step (Song et al. 2021, eq. 12 and 16), with alpha and alphaNext the products of 1 - beta up to this and to the next
 * timestep:
 * std = eta sqrt((1 - alphaNext) / (1 - alpha) (1 - alpha / alphaNext)),
 * mean = sqrt(alphaNext) data + sqrt(1 - alphaNext - std^2) e,
 * where data and noise e are linear in the latents x and what the network predicts: with noise
 * data = (x - sqrt(1 - alpha) e) / sqrt(alpha), with a velocity v data = sqrt(alpha) x - sqrt(1 - alpha) v and
 * e = sqrt(1 - alpha) x + sqrt(alpha) v, with the clean sample e = (x - sqrt(alpha) data) / sqrt(1 - alpha).
 * A schedule may end where it stands already: a step of alphaNext = alpha changes nothing. Throws where alpha is 0, with no
 * sample left in the latents, and noise is predicted: that says nothing of the sample.
 */
export function ddimCoefficients(step: DdimStep): GaussianCoefficients {
  const { alpha, alphaNext, prediction = 'epsilon' } = step;
  const { std, direction } = ddimNoise(step);
  if (alpha === alphaNext) return normal(1, 0, 0);
  switch (prediction) {
    case 'epsilon': {
      const x = Math.sqrt(alphaNext / alpha);
      return normal(x, direction - x * Math.sqrt(1 - alpha), std);
    }
    case 'v_prediction': {
      const [data, noise] = [Math.sqrt(alpha), Math.sqrt(1 - alpha)];
      const next = Math.sqrt(alphaNext);
      return normal(next * data + direction * noise, direction * data - next * noise, std);
    }
    case 'sample': {
      const x = direction / Math.sqrt(1 - alpha);
      return normal(x, Math.sqrt(alphaNext) - x * Math.sqrt(alpha), std);
    }
  }
}

/** One of DDIM's steps: the products of 1 - beta at its two ends, the share of noise, and what the network predicts. */
export interface DdimStep {
  readonly alpha: number;
  readonly alphaNext: number;
  /** From 0, without noise, to 1. */
  readonly eta: number;
  /** Default epsilon. */
  readonly prediction?: PredictionType | undefined;
}

/**
 * The noise of DDIM's step: std of what is drawn, the factor `direction` of what is predicted, and the predicted noise as a
 * function of latents and output. Throws as ddimCoefficients() does.
 */
export function ddimNoise({ alpha, alphaNext, eta, prediction = 'epsilon' }: DdimStep): {
  readonly std: number;
  readonly direction: number;
  readonly noise: { readonly x: number; readonly v: number };
} {
  checkSignal(alpha, prediction);
  check(
    alpha <= alphaNext && alphaNext <= 1,
    `step: expected 0 < alpha < alphaNext <= 1, or both equal, found ${alpha} and ${alphaNext}`,
  );
  check(eta >= 0 && eta <= 1, `step: eta must lie between 0 and 1, found ${eta}`);
  const variance = ((1 - alphaNext) / (1 - alpha)) * (1 - alpha / alphaNext) * eta * eta;
  const noise = {
    epsilon: { x: 0, v: 1 },
    v_prediction: { x: Math.sqrt(1 - alpha), v: Math.sqrt(alpha) },
    sample: { x: 1 / Math.sqrt(1 - alpha), v: -Math.sqrt(alpha / (1 - alpha)) },
  }[prediction];
  return { std: Math.sqrt(variance), direction: Math.sqrt(1 - alphaNext - variance), noise };
}

function checkSignal(alpha: number, prediction: PredictionType): void {
  check(
    alpha !== 0 || prediction !== 'epsilon',
    'step: alpha is 0 (zero terminal SNR), where predicted noise says nothing of the sample; expected prediction_type v_prediction or sample',
  );
  check(alpha >= 0 && alpha < 1, `step: expected an alpha from 0 to below 1, found ${alpha}`);
}

/** The flow's prediction of the clean sample: x - sigma v. */
export const flowPreviewCoefficients = (sigma: number): GaussianCoefficients => normal(1, -sigma, 0);

/** Diffusion's prediction of the clean sample, of noise (x - sqrt(1 - alpha) e) / sqrt(alpha): see ddimCoefficients(). */
export function ddimPreviewCoefficients(alpha: number, prediction: PredictionType = 'epsilon'): GaussianCoefficients {
  checkSignal(alpha, prediction);
  switch (prediction) {
    case 'epsilon':
      return normal(1 / Math.sqrt(alpha), -Math.sqrt((1 - alpha) / alpha), 0);
    case 'v_prediction':
      return normal(Math.sqrt(alpha), -Math.sqrt(1 - alpha), 0);
    case 'sample':
      return normal(0, 1, 0);
  }
}
