/** One group of a rollout while it is drawn: who is alive, what was selected, and what comes out. */
import type { Prune } from '../config.js';
import type { Prompt } from '../model.js';
import { hashNumbers } from '../random.js';
import { optimalVarianceSubset, uniformSubset } from './variance_filter.js';

/** What the noise of a group is a function of, besides the seed. */
export interface GroupId {
  readonly update: number;
  /** Number of the group in its update: also its prompt's row in the conditions. */
  readonly group: number;
}

/** A selection, by the samples' numbers in the group. */
export interface Selection {
  /** The step that only the kept take; the number of steps where final rewards decide. */
  readonly step: number;
  readonly samples: readonly number[];
  /** Rewards of the samples' previews (or final pictures); absent where the selection is random. NaN: not finite. */
  readonly rewards?: readonly number[];
  readonly kept: readonly number[];
}

/** A sample that is trained on. */
export interface Survivor {
  /** Its number in the group. */
  readonly sample: number;
  /** Where its trajectory lies. */
  readonly slot: number;
  /** Final reward; NaN where the picture is not finite. */
  readonly reward: number;
}

export interface GroupResult {
  readonly prompt: Prompt;
  readonly selections: readonly Selection[];
  readonly survivors: readonly Survivor[];
  /** Final rewards of all that were drawn to the end: of the survivors, unless the selection came after. */
  readonly finals: readonly number[];
  /** Raw scores of each reward for them, by name. */
  readonly parts: Readonly<Record<string, readonly number[]>>;
  /** Network calls: one for each sample and step. */
  readonly calls: number;
  /** Pictures decoded and scored. */
  readonly decodes: number;
  /**
   * Seconds of drawing, and of previews and final pictures with their rewards. Groups that are drawn together have equal
   * shares: they are of one size at every step.
   */
  readonly seconds: { readonly sample: number; readonly reward: number };
}

/** Scores of a group's pictures. */
export interface GroupScores {
  /** What selections go by. */
  readonly total: readonly number[];
  readonly parts: Readonly<Record<string, readonly number[]>>;
}

/** Keys of the noise of samples, u32 pairs: functions of seed, update, group and the sample's number alone. */
export function sampleKeys(seed: number, { update, group }: GroupId, samples: readonly number[]): number[] {
  // The word comes first: the hash has 32 bits of state, and two keys may share one word's but not both.
  return samples.flatMap((sample) => [0, 1].map((word) => hashNumbers(word, seed, update, group, sample)));
}

/** The sample's number in the key of a latent that a whole group starts from. */
export const sharedSample = -1;

/** A group that is being drawn. */
export class Group {
  private samples: readonly { readonly sample: number; readonly slot: number }[];
  private readonly selections: Selection[] = [];
  private calls = 0;
  private decodes = 0;

  /** `slots` are where the trajectories of its samples will lie. */
  constructor(
    readonly prompt: Prompt,
    readonly id: GroupId,
    slots: readonly number[],
    private readonly options: { readonly prune: Prune; readonly seed: number },
  ) {
    this.samples = slots.map((slot, sample) => ({ sample, slot }));
  }

  /** Numbers of the samples that are still drawn, rising. */
  get alive(): number[] {
    return this.samples.map(({ sample }) => sample);
  }

  get slots(): number[] {
    return this.samples.map(({ slot }) => slot);
  }

  /** Every sample that is alive has had a network call. */
  countCall(): void {
    this.calls += this.samples.length;
  }

  /** Every sample that is alive has been decoded and scored. */
  countDecode(): void {
    this.decodes += this.samples.length;
  }

  /** Keeps `count` samples, by rewards or at random. Gives their places among those alive before, and the slots of the others. */
  select(step: number, count: number, rewards?: readonly number[]): { places: number[]; freed: number[] } {
    const { id, options, alive, slots } = this;
    const isRandom = options.prune === 'uniform' || !rewards;
    const places = isRandom
      ? uniformSubset(alive.length, count, options.seed, id.update, id.group, step)
      : optimalVarianceSubset(rewards, count);
    this.samples = places.map((place) => this.samples[place]!);
    this.selections.push({ step, samples: alive, kept: this.alive, ...(rewards && { rewards }) });
    return { places, freed: slots.filter((_, place) => !places.includes(place)) };
  }

  /** What became of it, by the scores of the samples that were drawn to the end. */
  result(
    { total: finals, parts }: GroupScores,
    drawn: readonly number[],
    seconds: GroupResult['seconds'],
  ): GroupResult {
    const { prompt, selections, calls, decodes } = this;
    const rewards = new Map(drawn.map((sample, i) => [sample, finals[i]!]));
    const survivors = this.samples.map((each) => ({ ...each, reward: rewards.get(each.sample)! }));
    return { prompt, selections, survivors, finals, parts, calls, decodes, seconds };
  }
}
