/** A user's function as a reward. */
import { milliseconds, type Reward, RewardError, type RewardImage, type Scores, scoresFrom } from './reward.js';

/** What a user's ES module exports by default. It is called again when its last call has ended; other groups are drawn meanwhile. */
export type RewardFunction = (images: readonly RewardImage[]) => Scores | Promise<Scores>;

export interface ModuleOptions {
  /** Seconds until it counts as failed. Only waiting can be cut short, not a loop that never yields. Default 60. */
  readonly timeout?: number;
  /** The module's path, for messages. */
  readonly source?: string;
}

/**
 * Throws a RewardError where the function throws, takes too long, or has no finite number for each picture; the signal's
 * reason where that ends the waiting for it.
 */
export function moduleReward(name: string, compute: RewardFunction, options: ModuleOptions = {}): Reward {
  const { timeout = 60, source } = options;
  return {
    name,
    waited: true,
    score: async (images, { signal } = {}) => {
      signal?.throwIfAborted();
      const late = Symbol();
      let end = (_: typeof late): void => {};
      const clock = new Promise<typeof late>((resolve) => {
        end = resolve;
      });
      const timer = setTimeout(() => end(late), milliseconds(timeout));
      const interrupt = (): void => end(late);
      signal?.addEventListener('abort', interrupt);
      try {
        // A promise of its own, so that what the function throws at once and later ends in the same place.
        const scores = await Promise.race([Promise.resolve(images).then(compute), clock]).catch((cause) => {
          throw new RewardError(name, 'threw', images.length, { source, cause });
        });
        signal?.throwIfAborted();
        if (scores === late) throw new RewardError(name, `took more than ${timeout} s`, images.length, { source });
        return scoresFrom(name, scores, images.length, { source });
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener('abort', interrupt);
      }
    },
  };
}
