/**
 * The recipes of the study. They were fixed with the baseline alone, a plain group of 24 that nobody thins, on seeds from 100
 * on, before any method was compared: `winnow study recipe` runs that search again. The rate is the one beyond which a doubling
 * no longer helps: below it the number of updates decides, not the signal. Held-out scenes-pick of seeds 100 and 101 after
 * 6, 12 and 24 updates, 3.367 before:
 *
 *   5e-4   3.641 3.914 4.471   3.667 3.957 4.469
 *   1e-3   3.895 4.436 4.961   3.955 4.432 4.914
 *   2e-3   4.360 4.917 5.031   4.425 4.869 5.023
 *   4e-3   4.827 4.877 4.938   4.715 4.879 4.897
 *
 * What an evaluation draws goes by the time that there is. Half of its captions are held out, half are those of the training;
 * each is drawn with several noises, the same for every run.
 */
import type { ConfigChanges } from '../finetune/config/program.js';
import { scenePrompts } from '../finetune/prompts.js';
import type { Prompt } from '../model.js';

/** Changes when results of runs can't be compared with earlier ones: prompts, recipes outside the configuration, what is read. */
export const studyFormat = 1;

/** Captions of each of the two sets, and pictures of each caption: an evaluation draws 2 x 40 x 2. */
export const captionsOfSet = 40;
export const picturesOfCaption = 2;

/** Updates of a run; it is evaluated before the first, at quarters and at the end, as rewards saturate. */
export const usualUpdates = 24;

/** AdamW's rate. */
export const rate = 2e-3;

/** Of «as much as»: how much less of a reward still counts as equal. A twentieth of what the baseline gains in a quarter of its updates. */
export const equalMargin = 0.05;

/** Shares of the updates, or of the baseline's cost, at which methods are compared: before the reward saturates, and later. */
export const comparedShares = [0.25, 0.5, 1] as const;
export const costShares = [0.25, 0.5] as const;

/** A share of a run's updates in words. */
export const spanOf = (share: (typeof comparedShares)[number]): string =>
  ({ 0.25: 'a quarter of the updates', 0.5: 'half of the updates', 1: 'all updates' })[share];

/** The reward that is trained on, those of other people's tastes, and what the checker reads, which no run is trained on. */
export const trainedReward = 'scenes-pick';
export const otherRewards = ['scenes-hps', 'scenes-aesthetic', 'scenes-clip', 'scene-checker'] as const;
export const checkerParts = ['scene-checker-color', 'scene-checker-shape', 'scene-checker-ground'] as const;

/** No moving average, whose lag would hide how fast a method learns; one picture a sample prompt, as nobody looks at each run. */
const measured: ConfigChanges = {
  train: { lr: rate, ema: 0, updates: usualUpdates },
  save: { every: 6, keep: 1, previews: 0 },
  sample: { seeds: [1] },
  eval: {
    every: 6,
    probe_every: 8,
    n: 2 * captionsOfSet * picturesOfCaption,
    rewards: [...otherRewards, ...checkerParts],
  },
};

/** The models that ship: rectified flow, and diffusion. */
export type StudyModel = 'flow' | 'diffusion';

/** The preset of each model, and what the study changes of it. */
export const recipes: Readonly<Record<StudyModel, { readonly preset: string; readonly changes: ConfigChanges }>> = {
  flow: { preset: 'scenes-flow', changes: measured },
  diffusion: { preset: 'scenes-diffusion', changes: measured },
};

/** The sets of captions that an evaluation draws. */
export const promptSets = ['heldOut', 'training'] as const;
export type PromptSet = (typeof promptSets)[number];

/** The captions of an evaluation: in turn one that is held out and one that is trained on. Which set is a place's parity. */
export function evaluationPrompts(): Prompt[] {
  const [heldOut, training] = [scenePrompts('test'), scenePrompts('train')];
  return Array.from({ length: captionsOfSet }, (_, i) => [heldOut[i]!, training[i]!]).flat();
}
