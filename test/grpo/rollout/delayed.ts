/** What tests of turns that wait share: a reward that is waited for, as a server's is, and groups that are each a turn. */
import type { Prompt } from '../../../grpo/model.js';
import { CombinedReward, type RewardImage, type ScoreOptions } from '../../../grpo/rewards/reward.js';
import type { GroupResult } from '../../../grpo/rollout/group.js';
import { type TinyChanges, tinyConfig } from '../tiny.js';

export interface DelayedOptions {
  /** Waited for before a call is answered, by its number from 0. Default: nothing. */
  readonly wait?: (call: number, signal: AbortSignal | undefined) => Promise<void>;
  /** Default: the mean of a picture's bytes, from 0 to 1. */
  readonly scoreOf?: (image: RewardImage) => number;
  /** Default true. */
  readonly waited?: boolean;
}

const brightnessOf = ({ rgb }: RewardImage): number => rgb.reduce((sum, value) => sum + value, 0) / rgb.length / 255;

/** With how often it was called, by how many at one time at most, and the seconds that all calls took. */
export function delayed({ wait, scoreOf = brightnessOf, waited = true }: DelayedOptions = {}) {
  const seen = { calls: 0, atOnce: 0, seconds: 0 };
  let calling = 0;
  const score = async (images: readonly RewardImage[], { signal }: ScoreOptions = {}): Promise<number[]> => {
    const start = performance.now();
    calling++;
    seen.atOnce = Math.max(seen.atOnce, calling);
    try {
      await wait?.(seen.calls++, signal);
      return images.map(scoreOf);
    } finally {
      calling--;
      seen.seconds += (performance.now() - start) / 1000;
    }
  };
  return { seen, reward: new CombinedReward([{ weight: 1, reward: { name: 'delayed', waited, score } }]) };
}

/** Until the signal ends it, by its reason. */
export const untilAborted = (signal: AbortSignal | undefined): Promise<never> =>
  new Promise((_, reject) => {
    signal!.addEventListener('abort', () => reject(signal!.reason), { once: true });
  });

/** The prompts of an update. */
export const prompts = ['a red circle', 'the blue cat', 'a green square', 'two dogs'].map(
  (prompt): Prompt => ({ prompt, meta: {} }),
);

/** Four groups, each a turn. */
export function configOf(changes: TinyChanges, ahead: number) {
  const grpo = { groups_per_update: prompts.length, ...changes.grpo };
  const size = grpo.keep?.[0] ?? 6;
  const [sampler, train] = [
    { batch: size, ...changes.sampler },
    { micro_batch: 12, ...changes.train },
  ];
  return tinyConfig({ sampler, grpo, train, rollout: { ahead } });
}

/** A result without what depends on the others: slots and seconds. */
export const withoutPlace = ({ survivors, seconds: _, ...rest }: GroupResult) => ({
  ...rest,
  survivors: survivors.map(({ sample, reward }) => ({ sample, reward })),
});
