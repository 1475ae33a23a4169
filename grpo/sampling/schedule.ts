/**
 * Noise schedules: the levels a sampler visits, in f32 where the published samplers compute in f32, so that the numbers
 * are theirs. Flows have sigmas that fall from 1 to 0; diffusion has timesteps and the products of 1 - beta.
 */
import { check } from '../../engine/errors.js';
import { alphasCumprod, type BetaConfig } from './betas.js';
import { linspace, linspaceF32, roundHalfEven } from './linspace.js';
import { respacedSigmas, type SigmaSpacing } from './sigmas.js';

export { alphasCumprod } from './betas.js';

/** The timesteps of training, unless a scheduler says otherwise. */
const usualTrainTimesteps = 1000;

function checkSteps(steps: number): void {
  check(Number.isInteger(steps) && steps >= 1, `schedule: expected a positive number of steps, found ${steps}`);
}

/** A flow's levels, and the timestep fed to the network at each. */
export interface FlowSchedule {
  /** steps + 1 levels, from 1 to 0. */
  readonly sigmas: readonly number[];
  /** Sigma times the timesteps of training (1000) for each step, as the network is fed. */
  readonly timesteps: readonly number[];
}

/** More noise for larger pictures: shift sigma / (1 + (shift - 1) sigma). (Esser et al. 2024, eq. 23.) */
export const shiftSigma = (sigma: number, shift: number): number => (shift * sigma) / (1 + (shift - 1) * sigma);

/** What is particular about a flow's scheduler, besides its shift. */
export interface FlowOptions {
  /** The timesteps of training. Default 1000. */
  readonly trainTimesteps?: number | undefined;
  /** The shift is one by resolution, which acts once instead of twice on the last level. Default false. */
  readonly dynamic?: boolean | undefined;
  /** Levels are stretched so that the last before 0 is this one. */
  readonly terminal?: number | undefined;
  /** Levels between the first and the last before 0 are spaced anew. */
  readonly spacing?: SigmaSpacing | undefined;
}

function flowSchedule(sigmas: readonly number[], trainTimesteps = usualTrainTimesteps): FlowSchedule {
  return {
    sigmas: [...sigmas.map(Math.fround), 0],
    timesteps: sigmas.map((sigma) => Math.fround(trainTimesteps * sigma)),
  };
}

/**
 * FlowMatchEulerDiscreteScheduler, as Stable Diffusion 3 and Flow-GRPO use it. A fixed shift acts twice on the last level: the
 * scheduler's range ends at the shifted 1/1000, and each level of that range is shifted again. For 10 steps of shift 3 the
 * levels end 0.4649, 0.2780, 0.0089, 0.
 */
export function flowMatchSchedule(
  steps: number,
  shift: number,
  { trainTimesteps = usualTrainTimesteps, dynamic = false, terminal, spacing }: FlowOptions = {},
): FlowSchedule {
  checkSteps(steps);
  checkShift(shift);
  const smallest = 1 / trainTimesteps;
  const last = Math.fround(dynamic ? smallest : shiftSigma(smallest, shift));
  const shifted = linspace(1, last, steps).map((sigma) => shiftSigma(sigma, shift));
  const stretched = terminal === undefined ? shifted : stretchedTo(terminal, shifted);
  return flowSchedule(spacing ? respacedSigmas(stretched, spacing) : stretched, trainTimesteps);
}

function checkShift(shift: number): void {
  check(shift > 0 && Number.isFinite(shift), `schedule: expected a positive shift, found ${shift}`);
}

/** Levels of which the last is `terminal`: their distances from 1 in the same proportions. */
function stretchedTo(terminal: number, sigmas: readonly number[]): number[] {
  check(sigmas.length > 1, 'schedule: expected 2 steps or more with a shift_terminal, found 1');
  const scale = (1 - sigmas.at(-1)!) / (1 - terminal);
  return sigmas.map((sigma) => 1 - (1 - sigma) / scale);
}

/**
 * A shift by resolution: mu runs linearly from `base` for a picture of `baseTokens` to `max` for one of `maxTokens`, and the
 * shift is exp(mu), or for the type `linear` mu itself. (The pipelines of FLUX and Stable Diffusion 3.5.)
 */
export function dynamicShift(
  tokens: number,
  range: { readonly base: number; readonly max: number; readonly baseTokens: number; readonly maxTokens: number },
  type: 'exponential' | 'linear' = 'exponential',
): number {
  const slope = (range.max - range.base) / (range.maxTokens - range.baseTokens);
  const mu = tokens * slope + (range.base - slope * range.baseTokens);
  return type === 'exponential' ? Math.exp(mu) : mu;
}

/** FLUX's levels 1, ..., 1 / steps with its shift by resolution: exp(mu) / (exp(mu) + 1 / sigma - 1), in f32. */
export function dynamicFlowSchedule(steps: number, mu: number): FlowSchedule {
  checkSteps(steps);
  const { fround } = Math;
  const shift = fround(Math.exp(mu));
  const shifted = (sigma: number): number => fround(shift / fround(shift + fround(fround(1 / fround(sigma)) - 1)));
  return flowSchedule(linspace(1, 1 / steps, steps).map(shifted));
}

/**
 * DanceGRPO's and MixGRPO's levels: the shift on steps + 1 even levels from 1 to 0. The network is fed whole timesteps, cut
 * from products in f32: 1000 * 0.9 is 900 there, and 899.99998 in double precision.
 */
export function shiftedLinearSchedule(
  steps: number,
  shift: number,
  { trainTimesteps = usualTrainTimesteps }: Pick<FlowOptions, 'trainTimesteps'> = {},
): FlowSchedule {
  checkSteps(steps);
  checkShift(shift);
  const { fround } = Math;
  const shifted = (sigma: number): number => fround(fround(shift * sigma) / fround(1 + fround((shift - 1) * sigma)));
  const sigmas = linspaceF32(1, 0, steps + 1).map(shifted);
  return { sigmas, timesteps: sigmas.slice(0, -1).map((sigma) => Math.trunc(fround(trainTimesteps * sigma))) };
}

/** Which timesteps are visited (Lin et al. 2023, table 2). */
export const timestepSpacings = ['leading', 'trailing', 'linspace'] as const;
export type TimestepSpacing = (typeof timestepSpacings)[number];

/** What a scheduler_config.json says of diffusion. */
export interface DiffusionConfig extends BetaConfig {
  /** Default leading: Stable Diffusion's. */
  readonly timestepSpacing?: TimestepSpacing;
  /** Added to every timestep of leading spacing: 1 in Stable Diffusion. Default. */
  readonly stepsOffset?: number;
  /** The last step ends at the clean sample (product 1) instead of at timestep 0. Default false: Stable Diffusion's. */
  readonly setAlphaToOne?: boolean;
}

/** One step of a diffusion sampler. */
export interface DiffusionStep {
  readonly timestep: number;
  /** The product of 1 - beta at this timestep and at the next one. */
  readonly alpha: number;
  readonly alphaNext: number;
}

/**
 * DDIM's steps. With leading spacing 50 of Stable Diffusion's visit 981, 961, ..., 21, 1; with trailing 999, 979, ..., 19; with
 * linspace 999, 979, ..., 20, 0. Each goes on to the timestep lower by the whole part of 1000 / steps, whatever the next one is.
 */
export function ddimSchedule(steps: number, config: DiffusionConfig = {}): DiffusionStep[] {
  checkSteps(steps);
  const alphas = alphasCumprod(config);
  const count = alphas.length;
  check(steps <= count, `schedule: expected at most ${count} steps, found ${steps}`);
  const stride = Math.floor(count / steps);
  const final = config.setAlphaToOne ? 1 : alphas[0]!;
  return ddimTimesteps(steps, count, config).map((timestep) => {
    check(
      timestep < count,
      `schedule: ${steps} steps with steps_offset ${config.stepsOffset ?? 1} reach timestep ${timestep}, expected less than ${count}: take fewer steps`,
    );
    return { timestep, alpha: alphas[timestep]!, alphaNext: alphas[timestep - stride] ?? final };
  });
}

/** The timesteps in falling order, rounded as in diffusers. */
function ddimTimesteps(
  steps: number,
  count: number,
  { timestepSpacing = 'leading', stepsOffset = 1 }: DiffusionConfig,
): number[] {
  const order = Array.from({ length: steps }, (_, i) => i);
  switch (timestepSpacing) {
    case 'leading':
      return order.map((i) => (steps - 1 - i) * Math.floor(count / steps) + stepsOffset);
    case 'trailing': {
      const stride = count - (count - count / steps); // as NumPy's arange takes it from its first two values
      return order.map((i) => roundHalfEven(count - i * stride) - 1);
    }
    case 'linspace': {
      const stride = steps === 1 ? 0 : (count - 1) / (steps - 1);
      return order.map((i) => roundHalfEven(i === 0 && steps > 1 ? count - 1 : (steps - 1 - i) * stride));
    }
  }
}
