/** Which groups of an update are drawn together, and the memory that follows from it. */
import type { SamplerConfig } from '../config.js';
import type { GenerativeModel } from '../model.js';
import { type Stage, type StageConfig, stagesOf, survivorsOf } from './stages.js';

/** What the size of a network call depends on. */
export interface CallSize {
  readonly latentShape: GenerativeModel['latentShape'];
  /** The stages of one group. */
  readonly stages: readonly Stage[];
  /** `sampler.batch`. */
  readonly batch?: number | undefined;
}

/** The size of calls that a configuration stands for. Throws a CheckError for stages that make no sense. */
export const callSizeOf = (
  latentShape: GenerativeModel['latentShape'],
  config: StageConfig & { readonly sampler: Pick<SamplerConfig, 'batch'> },
): CallSize => ({ latentShape, stages: stagesOf(config), batch: config.sampler.batch });

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
 * least, and as evenly as can be. A sample's bits do not depend on it.
 */
export function groupsInTurn(groups: number, size: CallSize): number[] {
  const most = Math.max(1, Math.floor(samplesAtOnce(size) / size.stages[0]!.size));
  const turns = Math.ceil(groups / most);
  const before = (turn: number): number => Math.floor((turn * groups) / turns);
  return Array.from({ length: turns }, (_, turn) => before(turn + 1) - before(turn));
}

/** Slots that the trajectories of an update need: those of the survivors, and what groups drawn together have besides. */
export function slotsOf(groups: number, size: CallSize): number {
  const survivors = survivorsOf(size.stages);
  return groups * survivors + Math.max(...groupsInTurn(groups, size)) * (size.stages[0]!.size - survivors);
}
