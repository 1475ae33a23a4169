/**
 * Rollouts: groups of samples of one prompt, thinned while they are drawn (Pro-GRPO, section 4.3). At a checkpoint the
 * prediction that step computes anyway gives a preview of each sample's end; rewards of the previews decide which samples
 * take the step, with that same prediction. The others stop before it and cost nothing more.
 */
import { check } from '../engine/errors.js';
import type { Prune } from './config.js';
import type { GenerativeModel, Prompt } from './model.js';
import type { Picture } from './pictures.js';
import { hashNumbers } from './random.js';
import type { CombinedReward } from './rewards/reward.js';
import { captureRollout, predict, type RolloutSteps } from './rollout_steps.js';
import type { Trajectories } from './trajectories.js';
import type { Transition } from './transitions.js';
import { optimalVarianceSubset, uniformSubset } from './variance_filter.js';

export interface RolloutOptions {
  readonly transitions: readonly Transition[];
  /**
   * Size of the group, then what is kept at each checkpoint, each less than the one before. One count more, and the last
   * selection is among the final rewards (static filtering, section 4.2).
   */
  readonly keep: readonly number[];
  /** 0-based steps of the checkpoints, rising. */
  readonly pruneAt: readonly number[];
  readonly prune: Prune;
  /** Classifier-free guidance; 1 is none. */
  readonly guidance: number;
  /** Samples in one network call at most: bounds memory, changes no bit. Default: the whole group. */
  readonly batch?: number | undefined;
  /** One initial latent for a whole group. Default false. */
  readonly sameLatent?: boolean;
  /** Of noise and random selections. */
  readonly seed: number;
}

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
  /** Seconds of drawing, and of previews and final pictures with their rewards. */
  readonly seconds: { readonly sample: number; readonly reward: number };
}

export interface RolloutEvents {
  /** After each step, with the samples that took it. Given one, every step is waited for. */
  readonly onStep?: ((step: number, alive: number) => void) | undefined;
  /** The pictures of each selection and of the end, with the samples' numbers and their rewards. */
  readonly onPictures?: ((step: number, pictures: readonly ScoredPicture[]) => void) | undefined;
  /** Ends the group before its next step, by its reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface ScoredPicture extends Picture {
  readonly sample: number;
  readonly reward: number;
}

/** Keys of the noise of samples, u32 pairs: functions of seed, update, group and the sample's number alone. */
export function sampleKeys(seed: number, { update, group }: GroupId, samples: readonly number[]): number[] {
  // The word comes first: the hash has 32 bits of state, and two keys may share one word's but not both.
  return samples.flatMap((sample) => [0, 1].map((word) => hashNumbers(word, seed, update, group, sample)));
}

const shared = -1; // the sample's number in the key of a latent that a whole group starts from

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

/** Draws groups, one after the other, from steps that are captured once. */
export class Rollout {
  private constructor(
    private readonly model: GenerativeModel,
    private readonly store: Trajectories,
    private readonly reward: CombinedReward,
    private readonly options: RolloutOptions,
    private readonly steps: RolloutSteps,
  ) {}

  /** Slots that the trajectories of `groups` groups need: the survivors, and what one group has besides. */
  static slots(keep: readonly number[], groups: number): number {
    return groups * keep.at(-1)! + keep[0]! - keep.at(-1)!;
  }

  static async create(
    model: GenerativeModel,
    store: Trajectories,
    reward: CombinedReward,
    options: RolloutOptions,
  ): Promise<Rollout> {
    const { transitions, pruneAt, prune, guidance, batch: most = Number.POSITIVE_INFINITY } = options;
    const { sizes } = stagesOf(options);
    const previews = prune !== 'uniform';
    const steps = await captureRollout(model, store, { transitions, sizes, pruneAt, previews, guidance, most });
    return new Rollout(model, store, reward, options, steps);
  }

  /** Draws one group. The condition of its prompt must stand in the store's row `id.group`. */
  async sample(prompt: Prompt, id: GroupId, events: RolloutEvents = {}): Promise<GroupResult> {
    const { store, options, model } = this;
    const { batches, checkpoints, advance, finish } = this.steps;
    const { after } = stagesOf(options);
    const end = advance.length;
    const clock = new Clock();
    let batch = batches[0]!;
    let alive = store.claim(batch.size).map((slot, sample) => ({ sample, slot }));
    this.begin(alive, id);

    const selections: Selection[] = [];
    let [calls, decodes] = [0, 0];
    const score = async (step: number) => {
      await model.device.sync();
      clock.add('sample');
      const scored = await this.score(batch.size, prompt);
      events.onPictures?.(
        step,
        scored.pictures.map((picture, i) => ({ ...picture, sample: alive[i]!.sample, reward: scored.total[i]! })),
      );
      decodes += batch.size;
      clock.add('reward');
      return scored;
    };
    const select = (step: number, count: number, rewards?: readonly number[]): number[] => {
      const places = this.select(rewards, batch.size, count, id, step);
      const kept = places.map((place) => alive[place]!);
      store.release(alive.filter((each) => !kept.includes(each)).map(({ slot }) => slot));
      const numbers = (list: typeof alive): number[] => list.map(({ sample }) => sample);
      selections.push({ step, samples: numbers(alive), kept: numbers(kept), ...(rewards && { rewards }) });
      alive = kept;
      return places;
    };
    for (const [i, step] of advance.entries()) {
      events.signal?.throwIfAborted();
      predict(batch);
      calls += batch.size;
      const checkpoint = checkpoints.find((each) => each.step === i);
      if (checkpoint) {
        checkpoint.preview?.run();
        const rewards = checkpoint.preview && (await score(i)).total;
        checkpoint.picks.write(select(i, checkpoint.to.size, rewards));
        checkpoint.compact.run();
        batch = checkpoint.to;
      }
      step.run();
      if (events.onStep) {
        await model.device.sync();
        events.onStep(i + 1, batch.size);
      }
    }
    finish.run();
    const { total: finals, parts } = await score(end);
    let survivors = alive.map((each, i): Survivor => ({ ...each, reward: finals[i]! }));
    if (after !== undefined) survivors = select(end, after, finals).map((place) => survivors[place]!);
    return { prompt, selections, survivors, finals, parts, calls, decodes, seconds: clock.seconds };
  }

  /** Writes what is the group's own, and draws its initial latents. */
  private begin(alive: readonly { readonly sample: number; readonly slot: number }[], id: GroupId): void {
    const { batches, start } = this.steps;
    const first = batches[0]!;
    const { seed, sameLatent } = this.options;
    const numbers = alive.map(({ sample }) => sample);
    first.keys.write(sampleKeys(seed, id, numbers));
    start.keys.write(sampleKeys(seed, id, sameLatent ? numbers.map(() => shared) : numbers));
    first.slots.write(alive.map(({ slot }) => slot));
    first.conditions.write(numbers.map(() => id.group));
    start.step.run();
  }

  /** Decodes and scores what stands in the decoder. A picture that is not finite has no reward: NaN. */
  private async score(size: number, prompt: Prompt) {
    const pictures = await this.steps.decoders.get(size)!.pictures(Array<Prompt>(size).fill(prompt));
    const { total, parts } = await this.reward.score(pictures);
    return { pictures, parts, total: total.map((value, i) => (pictures[i]!.finite ? value : Number.NaN)) };
  }

  /** Places of the samples to keep, rising. */
  private select(
    rewards: readonly number[] | undefined,
    size: number,
    count: number,
    { update, group }: GroupId,
    step: number,
  ): number[] {
    const { prune, seed } = this.options;
    if (prune === 'uniform' || !rewards) return uniformSubset(size, count, seed, update, group, step);
    return optimalVarianceSubset(rewards, count);
  }

  dispose(): void {
    this.steps.dispose();
  }
}

/** Seconds by phase. */
class Clock {
  readonly seconds = { sample: 0, reward: 0 };
  private last = performance.now();

  /** The time since the last call was spent on `phase`. */
  add(phase: 'sample' | 'reward'): void {
    const now = performance.now();
    this.seconds[phase] += (now - this.last) / 1000;
    this.last = now;
  }
}
