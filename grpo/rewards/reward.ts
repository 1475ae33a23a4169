/** What a reward is: pictures in, one number each out. Previews and final pictures use the same door. */
import { inspect } from 'node:util';
import type { RewardConfig } from '../config.js';
import { momentsOf, standardise } from '../learning/advantage.js';
import { withoutCredentials } from './credentials.js';

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

export interface ScoreOptions {
  /** Told of what a person should know besides, such as a prompt that is not read to its end. */
  readonly warn?: Warn | undefined;
  /** Ends the waiting for a server or a module, by its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A score for each picture; more is better. The score of a picture does not depend on the others of the call. */
export interface Reward {
  readonly name: string;
  /**
   * Whether its scores are waited for, from a server or a user's function, instead of computed here: other groups are drawn
   * meanwhile, as far as `rollout.ahead` allows. Calls come one after another all the same. Default false.
   */
  readonly waited?: boolean;
  /**
   * Finite numbers, one for each picture in order. Throws a RewardError where it can't give them, the signal's reason where
   * that ended it.
   */
  score(images: readonly RewardImage[], options?: ScoreOptions): Promise<number[]>;
  /** Which one it is where its files may change: a hash, recorded with each group. */
  version?(): string;
  /** Reads its files again: between two updates, so that the rewards of a group are by one version. */
  renew?(): Promise<void>;
  /** Frees what it holds on the GPU, and closes its connections. */
  dispose?(): void;
}

export interface RewardErrorOptions extends ErrorOptions {
  /** Where the reward is: a module's path, a server's address. */
  readonly source?: string | undefined;
  /** Credentials that the message must not have, besides those that can be told by where they stand. */
  readonly secrets?: readonly string[] | undefined;
}

/**
 * A reward that gave no scores: `reward "mine" returned 11 scores for 12 images (./my_reward.mjs)`, then the cause. Neither
 * the message nor the cause has credentials.
 */
export class RewardError extends Error {
  override name = 'RewardError';

  constructor(
    /** The reward's name. */
    readonly reward: string,
    /** What it did: `threw`. */
    what: string,
    /** Pictures it was given. */
    readonly images: number,
    { source, cause, secrets }: RewardErrorOptions = {},
  ) {
    const given = `${images} ${images === 1 ? 'image' : 'images'}${source === undefined ? '' : ` (${source})`}`;
    const reason = cause instanceof Error ? cause.message || cause.name : textOf(cause);
    const shown = withoutCredentials(reason, secrets);
    const message = `reward "${reward}" ${what} for ${given}${cause === undefined ? '' : `: ${shown}`}`;
    super(withoutCredentials(message, secrets), { cause: shown === reason ? cause : shown });
  }

  /** One that another machine has told of, by its message. */
  static reported(reward: string, message: string): RewardError {
    const error = new RewardError(reward, 'failed', 0);
    error.message = withoutCredentials(message);
    return error;
  }
}

/** Whether a run of these rewards waits for scores: for those of servers and modules. */
export const waitsForScores = (rewards: Readonly<Record<string, Pick<RewardConfig, 'http' | 'module'>>>): boolean =>
  Object.values(rewards).some(({ http, module }) => http !== undefined || module !== undefined);

/** What scores may come as: a list, or the numbers of a typed array, such as a network's output. */
export type Scores =
  | readonly number[]
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint8ClampedArray
  | Uint16Array
  | Uint32Array;

/** The scores as a list. Throws a RewardError unless they are as many finite numbers as there were pictures. */
export function scoresFrom(
  reward: string,
  scores: unknown,
  images: number,
  options: RewardErrorOptions = {},
): number[] {
  const fail = (what: string): RewardError => new RewardError(reward, what, images, options);
  if (!Array.isArray(scores) && !isTypedArray(scores))
    throw fail(`returned ${describe(scores)} instead of an array of scores`);
  const list: readonly unknown[] = Array.from<unknown>(scores);
  if (list.length !== images) throw fail(`returned ${list.length} scores`);
  return list.map((score, i) => {
    if (typeof score === 'number' && Number.isFinite(score)) return score;
    throw fail(`returned ${describe(score)} as score ${i + 1}`);
  });
}

const isTypedArray = (value: unknown): value is ArrayLike<unknown> =>
  ArrayBuffer.isView(value) && !(value instanceof DataView);

const described = 80; // signs of a value in a message

/** A value as it is written: a text in quotes, so that "0.5" does not look like the number. */
function describe(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length > described ? `${value.slice(0, described - 3)}...` : value);
  return textOf(value).slice(0, described);
}

/** A value as a text, whatever it is: what has no JSON (a bigint in it, a circle) is shown as a console shows it. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value !== 'object' || value === null) return typeof value === 'bigint' ? `${value}n` : String(value);
  try {
    return JSON.stringify(value) ?? inspect(value);
  } catch {
    return inspect(value, { depth: 1, breakLength: Number.POSITIVE_INFINITY });
  }
}

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
   * matter to normalised rewards alone; by default all are one group. Throws the signal's reason where that ended it, else the
   * RewardError of the first that failed; after all have ended.
   */
  async score(
    images: readonly RewardImage[],
    groups: readonly number[] = [images.length],
    { signal }: Pick<ScoreOptions, 'signal'> = {},
  ): Promise<CombinedScores> {
    if (groups.reduce((sum, size) => sum + size, 0) !== images.length)
      throw new Error(`rewards: groups of ${groups.join(', ')} are not the ${images.length} images given`);
    const results = await Promise.allSettled(
      this.rewards.map(({ reward }) => scoresOf(reward, images, { warn: this.options.warn, signal })),
    );
    signal?.throwIfAborted();
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

  /** Whether the scores of any of them are waited for. */
  get waited(): boolean {
    return this.rewards.some(({ reward }) => reward.waited);
  }

  /** The versions of those that have one, by name. */
  get versions(): Readonly<Record<string, string>> {
    return Object.fromEntries(
      this.rewards.flatMap(({ reward }) => (reward.version ? [[reward.name, reward.version()]] : [])),
    );
  }

  /** Has those that may change read their files again. */
  async renew(): Promise<void> {
    for (const { reward } of this.rewards) await reward.renew?.();
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
const scoresOf = async (reward: Reward, images: readonly RewardImage[], options: ScoreOptions): Promise<number[]> =>
  images.length === 0 ? [] : scoresFrom(reward.name, await reward.score(images, options), images.length);
