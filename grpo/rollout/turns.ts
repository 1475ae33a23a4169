/** Which groups of an update are drawn together, how many such turns are in flight, and the memory that follows from it. */
import type { RolloutConfig, SamplerConfig } from '../config.js';
import type { GenerativeModel } from '../model.js';
import { type Stage, type StageConfig, stagesOf, survivorsOf } from './stages.js';

/** What the size of a network call, and the number of turns in flight, depend on. */
export interface CallSize {
  readonly latentShape: GenerativeModel['latentShape'];
  /** The stages of one group. */
  readonly stages: readonly Stage[];
  /** `sampler.batch`. */
  readonly batch?: number | undefined;
  /** `rollout.ahead` where scores are waited for, else 0, the default. */
  readonly ahead?: number | undefined;
}

/**
 * The size of calls that a configuration stands for; `waited` says whether scores are waited for (rewards/reward.ts). Throws a
 * CheckError for stages that make no sense.
 */
export const callSizeOf = (
  latentShape: GenerativeModel['latentShape'],
  config: StageConfig & { readonly sampler: Pick<SamplerConfig, 'batch'>; readonly rollout?: RolloutConfig },
  waited = false,
): CallSize => ({
  latentShape,
  stages: stagesOf(config),
  batch: config.sampler.batch,
  ahead: waited ? config.rollout?.ahead : 0,
});

/**
 * Pixels of latents that keep an adapter busy: four latents of 64 x 64. A call costs some hundred dispatches whatever is in it,
 * 20 microseconds each on a software adapter; with so many pixels these are lost in the arithmetic, and more would only take
 * memory.
 */
const busyPixels = 4 * 64 * 64;

/**
 * Samples in one network call at most, unless `sampler.batch` says: those of one group, or where latents are small as many
 * as have `busyPixels`. Stable Diffusion draws a group at a time so, and latents of 8 x 8 up to 256 samples.
 */
export function samplesAtOnce({ latentShape: [, height, width], stages, batch }: CallSize): number {
  return batch ?? Math.max(stages[0]!.size, Math.floor(busyPixels / (height * width)));
}

/**
 * Numbers of groups that are drawn together, turn after turn: of whole groups as many as fit in one network call, but one at
 * least and `most` at most, and as evenly as can be. A sample's bits do not depend on it.
 */
export function groupsInTurn(groups: number, size: CallSize, most = Number.POSITIVE_INFINITY): number[] {
  const fitting = Math.max(1, Math.floor(samplesAtOnce(size) / size.stages[0]!.size));
  const turns = Math.ceil(groups / Math.min(fitting, most));
  const before = (turn: number): number => Math.floor((turn * groups) / turns);
  return Array.from({ length: turns }, (_, turn) => before(turn + 1) - before(turn));
}

/** What is in flight at one time at most. */
export interface InFlight {
  /** Turns: one is drawn, the others wait for scores. */
  readonly turns: number;
  /** Groups of each. */
  readonly together: number;
}

/** Of an update with so many groups: of turns that may wait whole ones alone, so that no more than `ahead` groups do. */
export function inFlight(groups: number, size: CallSize): InFlight {
  const turns = groupsInTurn(groups, size);
  const together = Math.max(...turns);
  return { turns: Math.min(turns.length, 1 + Math.floor((size.ahead ?? 0) / together)), together };
}

/** Slots that the trajectories of an update need: those of the survivors, and what groups in flight have besides. */
export function slotsOf(groups: number, size: CallSize): number {
  const survivors = survivorsOf(size.stages);
  const { turns, together } = inFlight(groups, size);
  return groups * survivors + Math.min(groups, turns * together) * (size.stages[0]!.size - survivors);
}

/** Samples whose latents can be set aside: those of turns in flight, where more than one is and previews are scored. */
export function parkedSamples(groups: number, size: CallSize): number {
  const { turns, together } = inFlight(groups, size);
  const parks = turns > 1 && size.stages.some(({ scored }) => scored === 'previews');
  return parks ? turns * together * size.stages[0]!.size : 0;
}
