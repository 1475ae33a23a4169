/**
 * The SDE window: the steps of a rollout that draw noise and are trained; before and after it the path is deterministic
 * (Flow-GRPO-Fast, Liu et al. 2025; MixGRPO, Li et al. 2025, arXiv 2507.21802). Without one every trainable step is in it.
 */
import { CheckError } from '../../engine/errors.js';
import type { GrpoConfig, SamplerConfig } from '../config.js';
import type { GenerativeModel } from '../model.js';
import { hashNumbers } from '../random.js';
import { type Transition, transitionsOf, type Window } from './transitions.js';

/** The keys that a window follows from. */
export interface WindowConfig {
  readonly sampler: Pick<SamplerConfig, 'steps'> &
    Partial<Pick<SamplerConfig, 'window' | 'same_latent'>> & {
      readonly noise?: number | undefined;
    };
  readonly grpo: Partial<Pick<GrpoConfig, 'train_last_step' | 'prune'>> & { readonly prune_at?: readonly number[] };
}

/** What a run's configuration says of the steps of its rollouts. */
export type PathConfig = WindowConfig & {
  readonly sampler: Pick<SamplerConfig, 'kind' | 'noise'>;
  readonly seed: number;
};

/** The steps that can be trained: all, or all but the last, whose noise is tiny. */
const trainableSteps = ({ sampler: { steps }, grpo }: WindowConfig): number =>
  grpo.train_last_step ? steps : steps - 1;

/** How many steps a rollout draws with noise: the window's, or all that can be trained. */
export const windowSize = (config: WindowConfig): number => config.sampler.window?.size ?? trainableSteps(config);

/** The steps [from, to) that the window lies in: those that are given, or by default the first half for a random place, else all. */
function rangeOf(config: WindowConfig): readonly [from: number, to: number] {
  const { steps, window } = config.sampler;
  return window?.range ?? [0, window?.place === 'random' ? Math.floor(steps / 2) : trainableSteps(config)];
}

/** A key of the window that contradicts others, and what was expected and found. */
export interface WindowProblem {
  readonly key: 'sampler.window' | 'sampler.window.size' | 'sampler.window.range' | 'sampler.same_latent';
  readonly message: string;
}

/** What the keys of the window have wrong together; an empty list where windowOf() accepts them. */
export function windowProblems(config: WindowConfig): WindowProblem[] {
  const { window, steps } = config.sampler;
  if (!window) return [];
  if (config.sampler.noise === 0)
    return [{ key: 'sampler.window', message: 'steps without noise (sampler.noise: 0) have none; expected null' }];
  const [from, to] = rangeOf(config);
  const most = trainableSteps(config);
  const found = `[${from}, ${to}]`;
  const last = config.grpo.train_last_step ? 'sampler.steps' : 'the last step of sampler.steps (grpo.train_last_step)';
  if (from >= to || to > most) {
    const message = `expected a first step and an end above it of at most ${most}, without ${last} ${steps}`;
    return [{ key: 'sampler.window.range', message: `${message}, found ${found}` }];
  }
  if (window.size > to - from) {
    const message = `expected at most the ${to - from} steps of sampler.window.range ${found}, found ${window.size}`;
    return [{ key: 'sampler.window.size', message }];
  }
  const latest = window.place === 'fixed' ? from : to - window.size;
  const { prune, prune_at: at = [] } = config.grpo;
  if (!config.sampler.same_latent || prune !== 'ovf' || at.every((step) => step > latest)) return [];
  const message = `the samples of a group are equal up to the first step of sampler.window, ${latest} at the latest`;
  return [
    { key: 'sampler.same_latent', message: `${message}: expected grpo.prune_at above it, found [${at.join(', ')}]` },
  ];
}

/**
 * The window of an update (0-based), the same for all of its groups: a function of the configuration and of the update's number
 * alone, so that a run that goes on has it again. `fixed` stands at the start of its range, `random` starts at any step that
 * leaves it inside, each as likely. `moving` goes on by one step every `every` updates and from the end of its range back to
 * the start; MixGRPO lets it run out of the last steps, so that it shrinks, is empty for as long as one place lasts, and
 * begins again: here it is whole at every place, so that every update costs the same. Throws a CheckError for keys that
 * contradict each other.
 */
export function windowOf(config: WindowConfig & { readonly seed: number }, update: number): Window {
  const problems = windowProblems(config);
  if (problems.length > 0) throw new CheckError(problems.map(({ key, message }) => `${key}: ${message}`).join('; '));
  const [from, to] = rangeOf(config);
  const size = windowSize(config);
  const { place = 'fixed', every = 1 } = config.sampler.window ?? {};
  const places = to - from - size + 1;
  const start = {
    fixed: () => from,
    random: () => from + Math.floor((hashNumbers(config.seed, windows, update) / 2 ** 32) * places),
    moving: () => from + (Math.floor(update / every) % places),
  }[place]();
  return { start, end: start + size };
}

const windows = 0x77696e64; // tells the places of windows from other choices of the same seed

/** The steps that the rollout of an update (0-based) takes. Throws a CheckError for keys that contradict each other. */
export const pathOf = (
  { schedule }: Pick<GenerativeModel, 'schedule'>,
  config: PathConfig,
  update: number,
): Transition[] =>
  transitionsOf(
    schedule(config.sampler.steps, config.sampler.kind),
    config.sampler,
    config.grpo,
    windowOf(config, update),
  );
