/** What a rollout is to draw, and what follows from it before anything runs: sizes, groups drawn together, memory. */
import { check } from '../../engine/errors.js';
import type { Prune } from '../config.js';
import type { GenerativeModel } from '../model.js';
import type { Transition } from '../sampling/transitions.js';

export interface RolloutOptions {
  readonly transitions: readonly Transition[];
  /**
   * Size of a group, then what is kept at each checkpoint, each less than the one before. One count more, and the last
   * selection is among the final rewards (static filtering, section 4.2).
   */
  readonly keep: readonly number[];
  /** 0-based steps of the checkpoints, rising. */
  readonly pruneAt: readonly number[];
  readonly prune: Prune;
  /** Classifier-free guidance; 1 is none. */
  readonly guidance: number;
  /** Samples in one network call at most: bounds memory, changes no bit. Default: samplesAtOnce(). */
  readonly batch?: number | undefined;
  /** One initial latent for a whole group. Default false. */
  readonly sameLatent?: boolean;
  /** Of noise and random selections. */
  readonly seed: number;
}

/** The sizes a group has until its end, and what a last selection keeps. Throws for plans that make no sense. */
export function stagesOf({ keep, pruneAt, prune, transitions }: Omit<RolloutOptions, 'guidance' | 'seed'>): {
  readonly sizes: readonly number[];
  readonly after: number | undefined;
} {
  const steps = transitions.length;
  const falls = keep.every((size, i) => Number.isInteger(size) && size >= 1 && (i === 0 || size < keep[i - 1]!));
  check(keep.length > 0 && falls, `rollout: expected falling numbers of samples to keep, found [${keep}]`);
  const rises = pruneAt.every((step, i) => Number.isInteger(step) && step > (pruneAt[i - 1] ?? -1) && step < steps);
  check(rises, `rollout: expected rising steps below ${steps} to prune at, found [${pruneAt}]`);
  const extra = keep.length - 1 - pruneAt.length;
  const allowed = { none: [0], ovf: [0], uniform: [0, 1], 'ovf-after': [1] }[prune];
  check(
    allowed.includes(extra) && (prune !== 'none' || keep.length === 1) && (prune !== 'ovf-after' || keep.length === 2),
    `rollout: pruning by ${prune} at steps [${pruneAt}] does not go with [${keep}] samples`,
  );
  return { sizes: keep.slice(0, pruneAt.length + 1), after: extra === 1 ? keep.at(-1)! : undefined };
}

/** What the size of a network call depends on. */
export interface CallSize {
  readonly latentShape: GenerativeModel['latentShape'];
  readonly keep: readonly number[];
  /** `sampler.batch`. */
  readonly batch?: number | undefined;
}

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
export function samplesAtOnce({ latentShape: [, height, width], keep, batch }: CallSize): number {
  return batch ?? Math.max(keep[0]!, Math.floor(busyPixels / (height * width)));
}

/**
 * Numbers of groups that are drawn together, turn after turn: of whole groups as many as fit in one network call, but one at
 * least, and as evenly as can be. A sample's bits do not depend on it.
 */
export function groupsInTurn(groups: number, size: CallSize): number[] {
  const most = Math.max(1, Math.floor(samplesAtOnce(size) / size.keep[0]!));
  const turns = Math.ceil(groups / most);
  const before = (turn: number): number => Math.floor((turn * groups) / turns);
  return Array.from({ length: turns }, (_, turn) => before(turn + 1) - before(turn));
}

/** Slots that the trajectories of an update need: those of the survivors, and what groups drawn together have besides. */
export function slotsOf(groups: number, size: CallSize): number {
  const { keep } = size;
  const survivors = keep.at(-1)!;
  return groups * survivors + Math.max(...groupsInTurn(groups, size)) * (keep[0]! - survivors);
}
