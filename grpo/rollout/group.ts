/** One group of a rollout while it is drawn: who is alive, what was selected, and what comes out. */
import type { Prompt } from '../model.js';
import { hashNumbers } from '../random.js';
import type { StageSelection } from './stages.js';
import { extremes, optimalVarianceSubset, uniformSubset } from './variance_filter.js';

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
  /** Rewards of the samples' previews (or final pictures), NaN of those that were lost; absent where none were scored. */
  readonly rewards?: readonly number[];
  readonly kept: readonly number[];
}

/** A sample that is trained on. */
export interface Survivor {
  /** Its number in the group. */
  readonly sample: number;
  /** Final reward, finite. */
  readonly reward: number;
}

/** A survivor whose trajectory lies on this device. */
export interface PlacedSurvivor extends Survivor {
  readonly slot: number;
}

export interface GroupResult {
  readonly prompt: Prompt;
  readonly selections: readonly Selection[];
  readonly survivors: readonly Survivor[];
  /** Numbers of the samples that would have survived with the others, had their final pictures been finite. */
  readonly lost: readonly number[];
  /** Final rewards of all that were drawn to the end, NaN of those that were lost. */
  readonly finals: readonly number[];
  /** Raw scores of the same pictures, by the reward's name. */
  readonly byReward: Readonly<Record<string, readonly number[]>>;
  /** The finite rewards of the pictures that were scored first: previews of the first selection, or final pictures. */
  readonly first: readonly number[];
  /**
   * The finite final rewards that advantages are relative to: the survivors' (Pro-GRPO, eq. 18), or where the lowest and
   * highest were selected everybody's, as DanceGRPO selects by advantages that it has computed already.
   */
  readonly baseline: readonly number[];
  /** Network calls: one for each sample and step. */
  readonly calls: number;
  /** Pictures decoded and scored. */
  readonly decodes: number;
  /**
   * Seconds of drawing, and of decoding previews and final pictures and of the rewards' calls. Groups that are drawn together
   * have equal shares: they are of one size at every step. Waiting for other turns, which have the GPU or are scored, is in
   * neither: it is theirs. Where turns overlap, the seconds of all groups may sum to more than the rollout took.
   */
  readonly seconds: { readonly sample: number; readonly reward: number };
}

/** A group that was drawn on this device. */
export interface DrawnGroup extends GroupResult {
  readonly survivors: readonly PlacedSurvivor[];
}

/** Scores of a group's pictures. */
export interface GroupScores {
  /** What selections go by, one for each sample that is alive. NaN: the sample is lost, its picture is not finite. */
  readonly rewards: readonly number[];
  readonly byReward: Readonly<Record<string, readonly number[]>>;
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
  private first: readonly number[] | undefined;
  private calls = 0;
  private decodes = 0;

  /** `slots` are where the trajectories of its samples will lie. */
  constructor(
    readonly prompt: Prompt,
    readonly id: GroupId,
    slots: readonly number[],
    private readonly seed: number,
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
  private countDecode({ rewards }: GroupScores): void {
    this.decodes += this.samples.length;
    this.first ??= placesOf(rewards).map((place) => rewards[place]!);
  }

  /**
   * A selection before a step, by scores or at random. Lost samples are drawn on only where the others are too few, as a
   * batch can't be smaller. Returns the places of the selected among those alive before, rising, and the slots of the others.
   */
  select(selection: StageSelection, scores?: GroupScores): { places: number[]; freed: number[] } {
    if (scores) this.countDecode(scores);
    const { chosen, lost } = this.pick(selection, scores?.rewards);
    const { slots } = this;
    const places = [...chosen, ...lost].sort((a, b) => a - b);
    this.record(selection, places, scores);
    this.samples = places.map((place) => this.samples[place]!);
    return { places, freed: slots.filter((_, place) => !places.includes(place)) };
  }

  /**
   * What became of the group, by the scores of the samples that were drawn to the end and a last selection, if there is one.
   * Lost samples do not survive. Returns the slots of all that end here, too.
   */
  finish(
    scores: GroupScores,
    selection: StageSelection | undefined,
    seconds: GroupResult['seconds'],
  ): { result: DrawnGroup; freed: number[] } {
    this.countDecode(scores);
    const { rewards: finals, byReward } = scores;
    const { chosen, lost } = this.pick(selection, finals);
    if (selection)
      this.record(
        selection,
        [...chosen, ...lost].sort((a, b) => a - b),
        scores,
      );
    const survivors = chosen.map((place) => ({ ...this.samples[place]!, reward: finals[place]! }));
    const baseline = (selection?.rule === 'extremes' ? placesOf(finals) : chosen).map((place) => finals[place]!);
    const { prompt, selections, first = [], calls, decodes, alive, slots } = this;
    return {
      result: {
        prompt,
        selections,
        survivors,
        lost: lost.map((place) => alive[place]!),
        finals,
        byReward,
        first,
        baseline,
        calls,
        decodes,
        seconds,
      },
      freed: slots.filter((_, place) => !chosen.includes(place)),
    };
  }

  /** The places that a selection chooses among the samples with a reward, and lost ones that fill it up, both rising. */
  private pick(selection?: StageSelection, rewards?: readonly number[]): { chosen: number[]; lost: number[] } {
    const places = [...this.samples.keys()];
    const finite = rewards ? placesOf(rewards) : places;
    const chosen = selection ? this.choose(selection, finite, rewards) : finite;
    const lost = places.filter((place) => !finite.includes(place));
    return { chosen, lost: selection ? lost.slice(0, selection.count - chosen.length) : lost };
  }

  /** `count` of the given places, or all where they are fewer. */
  private choose(
    { rule, count, step }: StageSelection,
    places: readonly number[],
    rewards?: readonly number[],
  ): number[] {
    if (places.length <= count) return [...places];
    const { seed, id } = this;
    const own = places.map((place) => rewards?.[place] ?? 0);
    const chosen = {
      ovf: () => optimalVarianceSubset(own, count),
      extremes: () => extremes(own, count >> 1, count - (count >> 1)),
      uniform: () => uniformSubset(own.length, count, seed, id.update, id.group, step),
    }[rule]();
    return chosen.map((i) => places[i]!);
  }

  private record({ step }: StageSelection, places: readonly number[], scores?: GroupScores): void {
    const { alive: samples } = this;
    const kept = places.map((place) => samples[place]!);
    this.selections.push({ step, samples, kept, ...(scores && { rewards: scores.rewards }) });
  }
}

/** The places of the samples that are not lost. */
const placesOf = (rewards: readonly number[]): number[] =>
  rewards.flatMap((reward, place) => (Number.isFinite(reward) ? [place] : []));
