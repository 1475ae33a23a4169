/** A user's function as a reward. */
import { checkScores, milliseconds, type Reward, RewardError, type RewardImage } from './reward.js';

/** What a user's ES module exports by default. */
export type RewardFunction = (images: readonly RewardImage[]) => number[] | Promise<number[]>;

export interface ModuleOptions {
  /** Seconds until it counts as failed. Only waiting can be cut short, not a loop that never yields. Default 60. */
  readonly timeout?: number;
  /** The module's path, for messages. */
  readonly source?: string;
}

/** Throws a RewardError where the function throws, takes too long, or has no finite number for each picture. */
export function moduleReward(name: string, compute: RewardFunction, options: ModuleOptions = {}): Reward {
  const { timeout = 60, source } = options;
  return {
    name,
    score: async (images) => {
      const late = Symbol();
      let timer: NodeJS.Timeout | undefined;
      const clock = new Promise<typeof late>((resolve) => {
        timer = setTimeout(() => resolve(late), milliseconds(timeout));
      });
      try {
        // A promise of its own, so that what the function throws at once and later ends in the same place.
        const scores = await Promise.race([Promise.resolve(images).then(compute), clock]).catch((cause) => {
          throw new RewardError(name, 'threw', images.length, { source, cause });
        });
        if (scores === late) throw new RewardError(name, `took more than ${timeout} s`, images.length, { source });
        checkScores(name, scores, images.length, { source });
        return scores;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
