/** What a reward is: pictures in, one number each out. Previews and final pictures use the same door. */
import { momentsOf, standardise } from '../learning/advantage.js';

/** A picture as every reward sees it: rounded and clamped to bytes, as in Flow-GRPO. */
export interface RewardImage {
  /** height * width * 3 values, row by row, channels interleaved. */
  readonly rgb: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly prompt: string;
  /** What else the prompt's line in a .jsonl file says. */
  readonly meta: Readonly<Record<string, unknown>>;
}

/** Takes a sentence for a person. */
export type Warn = (message: string) => void;

/** A score for each picture; more is better. The score of a picture does not depend on the others of the call. */
export interface Reward {
  readonly name: string;
  /**
   * Finite numbers, one for each picture in order. Throws a RewardError where it can't give them; `warn` is told of what a
   * person should know besides, such as a prompt that is not read to its end.
   */
  score(images: readonly RewardImage[], warn?: Warn): Promise<number[]>;
  /** Frees what it holds on the GPU. */
  dispose?(): void;
}

export interface RewardErrorOptions extends ErrorOptions {
  /** Where the reward is: a module's path, a server's address. */
  readonly source?: string | undefined;
}

/** A reward that gave no scores: `reward "mine" returned 11 scores for 12 images (./my_reward.mjs)`, then the cause. */
export class RewardError extends Error {
  override name = 'RewardError';

  constructor(
    /** The reward's name. */
    readonly reward: string,
    /** What it did: `threw`. */
    what: string,
    /** Pictures it was given. */
    readonly images: number,
    { source, cause }: RewardErrorOptions = {},
  ) {
    const given = `${images} ${images === 1 ? 'image' : 'images'}${source === undefined ? '' : ` (${source})`}`;
    const because =
      cause === undefined ? '' : `: ${cause instanceof Error ? cause.message || cause.name : String(cause)}`;
    super(`reward "${reward}" ${what} for ${given}${because}`, { cause });
  }
}

/** Throws a RewardError unless `scores` are as many finite numbers as there were pictures. */
export function checkScores(
  reward: string,
  scores: unknown,
  images: number,
  options: RewardErrorOptions = {},
): asserts scores is number[] {
  const fail = (what: string): never => {
    throw new RewardError(reward, what, images, options);
  };
  if (!Array.isArray(scores)) fail(`returned ${describe(scores)} instead of an array of scores`);
  const list = scores as readonly unknown[];
  if (list.length !== images) fail(`returned ${list.length} scores`);
  const wrong = list.findIndex((score) => !Number.isFinite(score));
  if (wrong >= 0) fail(`returned ${describe(list[wrong])} as score ${wrong + 1}`);
}

const describe = (value: unknown): string =>
  (typeof value === 'object' ? (JSON.stringify(value) ?? '') : String(value)).slice(0, 80);

/** Seconds as a timer takes them: a longer time would overflow and end at once. */
export const milliseconds = (seconds: number): number => Math.min(1000 * seconds, 2 ** 31 - 1);

/** A reward and its factor in the sum. */
export interface WeightedReward {
  readonly reward: Reward;
  readonly weight: number;
}

export interface CombineOptions {
  /** Weighted sum of raw scores (as in Flow-GRPO), or each reward normalised in its group first. Default sum. */
  readonly combine?: 'sum' | 'normalised';
  /** Added to a group's deviation where scores are normalised. Default 1e-4. */
  readonly eps?: number;
  /** Told of what the rewards warn of. */
  readonly warn?: Warn;
}

/** Scores of some pictures. */
export interface CombinedScores {
  /** What is trained on. */
  readonly total: number[];
  /** Raw scores of each reward, by name. */
  readonly byReward: Readonly<Record<string, number[]>>;
}

/** Several rewards at once. */
export class CombinedReward {
  constructor(
    readonly rewards: readonly WeightedReward[],
    private readonly options: CombineOptions = {},
  ) {}

  /**
   * Scores pictures by every reward. `groups` are the sizes of the groups that the pictures form one after another, which
   * matter to normalised rewards alone; by default all are one group. Throws the RewardError of the first that failed,
   * after all have ended.
   */
  async score(images: readonly RewardImage[], groups: readonly number[] = [images.length]): Promise<CombinedScores> {
    if (groups.reduce((sum, size) => sum + size, 0) !== images.length)
      throw new Error(`rewards: groups of ${groups.join(', ')} are not the ${images.length} images given`);
    const results = await Promise.allSettled(
      this.rewards.map(({ reward }) => scoresOf(reward, images, this.options.warn)),
    );
    const byReward: Record<string, number[]> = {};
    results.forEach((result, r) => {
      if (result.status === 'rejected') throw result.reason;
      byReward[this.rewards[r]!.reward.name] = result.value;
    });
    return { total: this.combine(byReward, groups), byReward };
  }

  /** What is trained on, of raw scores of each reward. `groups` as in score(). */
  combine(byReward: Readonly<Record<string, readonly number[]>>, groups: readonly number[]): number[] {
    const total = Array<number>(groups.reduce((sum, size) => sum + size, 0)).fill(0);
    for (const { reward, weight } of this.rewards) {
      this.comparable(byReward[reward.name]!, groups).forEach((score, i) => {
        total[i]! += weight * score;
      });
    }
    return total;
  }

  dispose(): void {
    for (const { reward } of this.rewards) reward.dispose?.();
  }

  private comparable(scores: readonly number[], groups: readonly number[]): readonly number[] {
    const { combine = 'sum', eps = 1e-4 } = this.options;
    if (combine === 'sum') return scores;
    let start = 0;
    return groups.flatMap((size) => {
      start += size;
      const group = scores.slice(start - size, start);
      const moments = momentsOf(group);
      return group.map((score) => standardise(score, moments, eps));
    });
  }
}

/** A reward's scores, checked. It is not bothered where there are no pictures. */
async function scoresOf(reward: Reward, images: readonly RewardImage[], warn?: Warn): Promise<number[]> {
  if (images.length === 0) return [];
  const scores: unknown = await reward.score(images, warn);
  checkScores(reward.name, scores, images.length);
  return scores;
}
