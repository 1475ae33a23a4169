/** What a rollout tells of itself while it draws, and what ends it. */
import type { Picture } from './pictures.js';

/** How far groups that are drawn together are. Groups of other turns may be told of in between, where scores are waited for. */
export interface RolloutProgress {
  /** Number of the first of them, and how many they are. */
  readonly group: number;
  readonly together: number;
  /** How many steps are done. */
  readonly step: number;
  /** Samples of each group that took the last of them. */
  readonly alive: number;
  /** Steps that all groups of the rollout have taken so far, each group's counted. */
  readonly taken: number;
}

export interface RolloutEvents {
  /** After each step. Given one, every step is waited for. */
  readonly onStep?: ((progress: RolloutProgress) => void) | undefined;
  /**
   * The pictures of each selection and of the end, with the samples' numbers and their rewards, group by group. Those of one
   * group come in the order of its steps; those of groups of other turns may come in between.
   */
  readonly onPictures?: ((group: number, step: number, pictures: readonly ScoredPicture[]) => void) | undefined;
  /** Ends the rollout before its next step, or the waiting for a reward, by its reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface ScoredPicture extends Picture {
  /** Its number in the group. */
  readonly sample: number;
  /** What selections go by; NaN of a sample that is lost. */
  readonly reward: number;
  /** Raw scores by the reward's name. */
  readonly parts: Readonly<Record<string, number>>;
}
