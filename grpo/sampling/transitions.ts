/** The steps of a rollout: for each, what the network is fed, the transition taken, and the preview of the clean sample. */
import { check } from '../../engine/errors.js';
import type { GaussianCoefficients } from '../../engine/index.js';
import type { GrpoConfig, SamplerConfig, StepKind } from '../config.js';
import { type ClippedMean, clippedPreview, ddimClippedMean, ofMean } from './clip.js';
import type { SamplingStep } from './sampler.js';
import type { DiffusionStep, FlowSchedule } from './schedule.js';
import {
  cpsCoefficients,
  danceCoefficients,
  ddimCoefficients,
  ddimPreviewCoefficients,
  eulerCoefficients,
  flowPreviewCoefficients,
  flowSdeCoefficients,
  type PredictionType,
} from './step.js';

/** The noise levels that a sampler visits. */
export type NoiseSchedule =
  | { readonly kind: 'flow'; readonly levels: FlowSchedule }
  | {
      readonly kind: 'diffusion';
      readonly steps: readonly DiffusionStep[];
      /** Default epsilon: the noise. */
      readonly prediction?: PredictionType;
      /** The predicted clean sample is clipped to [-clip, clip]. Default: it is not. */
      readonly clip?: number | undefined;
    };

/** One step of a rollout. */
export interface Transition extends SamplingStep {
  /** The clean sample that the prediction of this step implies: one deterministic step to the end. */
  readonly preview: GaussianCoefficients;
  /** The clipped sample, which takes the place of the prediction, where steps clip. */
  readonly clippedPreview?: ClippedMean | undefined;
  /** sigma - sigmaNext of a flow, 1 for diffusion: what Flow-GRPO's divergence leaves out. */
  readonly interval: number;
}

/** The kind of steps (default: flow-sde for flows, ddim for diffusion) and their noise. */
export type TransitionOptions = Readonly<Pick<SamplerConfig, 'kind' | 'noise'>>;

/** The steps of a rollout that draw noise, by their numbers from 0: `start` up to `end`, which is excluded. */
export interface Window {
  readonly start: number;
  readonly end: number;
}

/**
 * The steps of a rollout along a schedule, with noise in those of the window (default: all). Otherwise they are deterministic,
 * and so is the last one unless it is trained (`train_last_step`, default false), so that no noise is left in the picture that
 * is scored: DanceGRPO decodes x - sigma v of the last step, later Flow-GRPO ends without noise. Throws for a kind of step
 * that the schedule can't take.
 */
export function transitionsOf(
  schedule: NoiseSchedule,
  { kind, noise }: TransitionOptions,
  { train_last_step: stochasticEnd = false }: Partial<Pick<GrpoConfig, 'train_last_step'>> = {},
  window?: Window,
): Transition[] {
  const steps = ((): Transition[] => {
    const refusal = (): string => `sampler: steps of kind ${kind} are not for a ${schedule.kind} model`;
    if (schedule.kind === 'flow') {
      check(kind !== 'ddim', refusal);
      return flowTransitions(schedule.levels, kind ?? 'flow-sde', noise);
    }
    check((kind ?? 'ddim') === 'ddim', refusal);
    return ddimTransitions(schedule, noise);
  })();
  const { start, end } = window ?? { start: 0, end: steps.length };
  const deterministic = odeStepsOf(schedule);
  return steps.map((step, i) => {
    const isDrawn = i >= start && i < end && (stochasticEnd || i < steps.length - 1);
    return isDrawn ? step : { ...step, ...deterministic[i]! };
  });
}

/** The deterministic steps along a schedule: Euler's of a flow, DDIM's without noise. */
export const odeStepsOf = (schedule: NoiseSchedule): SamplingStep[] =>
  schedule.kind === 'flow' ? eulerSteps(schedule.levels) : schedule.steps.map((step) => ddimStep(schedule, step, 0));

const eulerSteps = ({ sigmas, timesteps }: FlowSchedule): SamplingStep[] =>
  timesteps.map((timestep, i) => ({
    timestep,
    step: eulerCoefficients({ sigma: sigmas[i]!, sigmaNext: sigmas[i + 1]! }),
  }));

function flowTransitions(
  { sigmas, timesteps }: FlowSchedule,
  kind: Exclude<StepKind, 'ddim'>,
  noise: number,
): Transition[] {
  const sigmaMax = sigmas[1]!;
  return timesteps.map((timestep, i) => {
    const level = { sigma: sigmas[i]!, sigmaNext: sigmas[i + 1]! };
    const step = {
      'flow-sde': () => flowSdeCoefficients({ ...level, sigmaMax, noiseLevel: noise }),
      dance: () => danceCoefficients({ ...level, eta: noise }),
      cps: () => cpsCoefficients({ ...level, noiseLevel: noise }),
    }[kind]();
    const interval = level.sigma - level.sigmaNext;
    return { timestep, step, preview: flowPreviewCoefficients(level.sigma), interval };
  });
}

type DiffusionSchedule = Extract<NoiseSchedule, { kind: 'diffusion' }>;

function ddimStep({ prediction, clip: range }: DiffusionSchedule, { timestep, ...ends }: DiffusionStep, eta: number) {
  const given = { ...ends, eta, prediction };
  const step = ddimCoefficients(given);
  if (range === undefined) return { timestep, step };
  return { timestep, step: ofMean(step), clip: ddimClippedMean(given, range) };
}

const ddimTransitions = (schedule: DiffusionSchedule, eta: number): Transition[] =>
  schedule.steps.map((each) => {
    const step = ddimStep(schedule, each, eta);
    const preview = ddimPreviewCoefficients(each.alpha, schedule.prediction);
    if (!step.clip) return { ...step, preview, interval: 1 };
    return { ...step, preview: ofMean(preview), clippedPreview: clippedPreview(step.clip), interval: 1 };
  });
