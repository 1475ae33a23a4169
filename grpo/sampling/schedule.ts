/**
 * Noise schedules: the levels a sampler visits, in f32 where the published samplers compute in f32, so that the numbers
 * are theirs. Flows have sigmas that fall from 1 to 0; diffusion has timesteps and the products of 1 - beta.
 */
import { check } from '../../engine/errors.js';

const trainTimesteps = 1000;

function checkSteps(steps: number): void {
  check(Number.isInteger(steps) && steps >= 1, `schedule: expected a positive number of steps, found ${steps}`);
}

/** `count` numbers from `first` to `last`, both included. */
function linspace(first: number, last: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => (count === 1 ? first : first + ((last - first) * i) / (count - 1)));
}

/** The same in f32, counted from the nearer end as PyTorch does. */
function linspaceF32(first: number, last: number, count: number): number[] {
  const { fround } = Math;
  const step = fround(fround(last - first) / (count - 1));
  return Array.from({ length: count }, (_, i) =>
    i < count / 2 ? fround(fround(first) + fround(step * i)) : fround(fround(last) - fround(step * (count - 1 - i))),
  );
}

/** A flow's levels, and the timestep fed to the network at each. */
export interface FlowSchedule {
  /** steps + 1 levels, from 1 to 0. */
  readonly sigmas: readonly number[];
  /** 1000 sigma for each step, as the network is fed. */
  readonly timesteps: readonly number[];
}

/** More noise for larger pictures: shift sigma / (1 + (shift - 1) sigma). (Esser et al. 2024, eq. 23.) */
export const shiftSigma = (sigma: number, shift: number): number => (shift * sigma) / (1 + (shift - 1) * sigma);

function flowSchedule(sigmas: readonly number[]): FlowSchedule {
  return {
    sigmas: [...sigmas.map(Math.fround), 0],
    timesteps: sigmas.map((sigma) => Math.fround(trainTimesteps * sigma)),
  };
}

/**
 * FlowMatchEulerDiscreteScheduler with a fixed shift, as Stable Diffusion 3 and Flow-GRPO use it. The shift acts twice on
 * the last level: the scheduler's range ends at the shifted 1/1000, and each level of that range is shifted again. For 10
 * steps of shift 3 the levels end 0.4649, 0.2780, 0.0089, 0.
 */
export function flowMatchSchedule(steps: number, shift: number): FlowSchedule {
  checkSteps(steps);
  check(shift > 0, `schedule: expected a positive shift, found ${shift}`);
  const last = Math.fround(shiftSigma(1 / trainTimesteps, shift));
  return flowSchedule(linspace(1, last, steps).map((sigma) => shiftSigma(sigma, shift)));
}

/** The same scheduler with FLUX's shift by resolution: exp(mu) / (exp(mu) + 1 / sigma - 1) on levels 1, ..., 1 / steps. */
export function dynamicFlowSchedule(steps: number, mu: number): FlowSchedule {
  checkSteps(steps);
  const { fround } = Math;
  const shift = fround(Math.exp(mu));
  const shifted = (sigma: number): number => fround(shift / fround(shift + fround(fround(1 / fround(sigma)) - 1)));
  return flowSchedule(linspace(1, 1 / steps, steps).map(shifted));
}

/** DanceGRPO's and MixGRPO's levels: the shift on steps + 1 even levels from 1 to 0. The network is fed whole timesteps. */
export function shiftedLinearSchedule(steps: number, shift: number): FlowSchedule {
  checkSteps(steps);
  const { fround } = Math;
  const shifted = (sigma: number): number => fround(fround(shift * sigma) / fround(1 + fround((shift - 1) * sigma)));
  const sigmas = linspaceF32(1, 0, steps + 1).map(shifted);
  return { sigmas, timesteps: sigmas.slice(0, -1).map((sigma) => Math.trunc(trainTimesteps * sigma)) };
}

/** What a scheduler_config.json says of the betas. */
export interface DiffusionConfig {
  /** Default 0.00085 and 0.012: Stable Diffusion's. */
  readonly betaStart?: number;
  readonly betaEnd?: number;
  /** 'scaled_linear': linear in the square root, Stable Diffusion's. Default. */
  readonly betaSchedule?: 'scaled_linear' | 'linear';
  /** Added to every timestep: 1 in Stable Diffusion. Default. */
  readonly stepsOffset?: number;
  /** The last step ends at the clean sample (product 1) instead of at timestep 0. Default false: Stable Diffusion's. */
  readonly setAlphaToOne?: boolean;
}

/** The product of 1 - beta up to each of 1000 timesteps: betas in f32, their product in double precision, as in PyTorch. */
export function alphasCumprod({
  betaStart = 0.00085,
  betaEnd = 0.012,
  betaSchedule = 'scaled_linear',
}: DiffusionConfig = {}): Float32Array {
  const scaled = betaSchedule === 'scaled_linear';
  const ends = scaled ? [Math.sqrt(betaStart), Math.sqrt(betaEnd)] : [betaStart, betaEnd];
  let product = 1;
  return Float32Array.from(linspaceF32(ends[0]!, ends[1]!, trainTimesteps), (level) => {
    product *= Math.fround(1 - Math.fround(scaled ? level * level : level));
    return product;
  });
}

/** One step of a diffusion sampler. */
export interface DiffusionStep {
  readonly timestep: number;
  /** The product of 1 - beta at this timestep and at the next one. */
  readonly alpha: number;
  readonly alphaNext: number;
}

/** DDIM's steps with leading spacing: 50 of Stable Diffusion's visit 981, 961, ..., 21, 1. */
export function ddimSchedule(steps: number, config: DiffusionConfig = {}): DiffusionStep[] {
  checkSteps(steps);
  check(steps <= trainTimesteps, `schedule: expected at most ${trainTimesteps} steps, found ${steps}`);
  const alphas = alphasCumprod(config);
  const stride = Math.floor(trainTimesteps / steps);
  const final = config.setAlphaToOne ? 1 : alphas[0]!;
  return Array.from({ length: steps }, (_, i) => {
    const timestep = (steps - 1 - i) * stride + (config.stepsOffset ?? 1);
    return { timestep, alpha: alphas[timestep]!, alphaNext: alphas[timestep - stride] ?? final };
  });
}
