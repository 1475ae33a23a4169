/**
 * Rollouts: groups of samples of one prompt, thinned while they are drawn (Pro-GRPO, section 4.3). At a checkpoint the
 * prediction that step computes anyway gives a preview of each sample's end; rewards of the previews decide which samples
 * take the step, with that same prediction. The others stop before it and cost nothing more.
 *
 * Groups of an update are drawn together as far as memory allows: they have the same sizes at every step, so one network call,
 * one decode and one call of the rewards serve them all, while noise, scores and selections are each group's own.
 */

import type { GenerativeModel, Prompt } from '../model.js';
import type { CombinedReward } from '../rewards/reward.js';
import { Group, type GroupResult, type GroupScores, sampleKeys, sharedSample } from './group.js';
import type { Picture } from './pictures.js';
import { captureRollout, predict, type RolloutSteps } from './rollout_steps.js';
import { groupsInTurn, type RolloutOptions, samplesAtOnce, stagesOf } from './stages.js';
import type { Trajectories } from './trajectories.js';

/** How far groups that are drawn together are. */
export interface RolloutProgress {
  /** Number of the first of them, and how many they are. */
  readonly group: number;
  readonly together: number;
  /** Steps done. */
  readonly step: number;
  /** Samples of each group that took the last of them. */
  readonly alive: number;
}

export interface RolloutEvents {
  /** After each step. Given one, every step is waited for. */
  readonly onStep?: ((progress: RolloutProgress) => void) | undefined;
  /** The pictures of each selection and of the end, with the samples' numbers and their rewards, group by group. */
  readonly onPictures?: ((group: number, step: number, pictures: readonly ScoredPicture[]) => void) | undefined;
  /** Ends the rollout before its next step, by its reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface ScoredPicture extends Picture {
  readonly sample: number;
  readonly reward: number;
}

/** Draws the groups of updates from steps that are captured once. */
export class Rollout {
  /** By the number of groups that are drawn together. */
  private readonly steps = new Map<number, RolloutSteps>();

  private constructor(
    private readonly model: GenerativeModel,
    private readonly store: Trajectories,
    private readonly reward: CombinedReward,
    private readonly options: RolloutOptions,
  ) {}

  /** Captures what draws as many groups as the store has prompts. */
  static async create(
    model: GenerativeModel,
    store: Trajectories,
    reward: CombinedReward,
    options: RolloutOptions,
  ): Promise<Rollout> {
    const rollout = new Rollout(model, store, reward, options);
    try {
      for (const together of rollout.turns(store.size.groups)) await rollout.stepsFor(together);
      return rollout;
    } catch (error) {
      rollout.dispose();
      throw error;
    }
  }

  /** Draws a group of each prompt of an update. Their conditions must stand in the store's rows, in the same order. */
  async sample(prompts: readonly Prompt[], update: number, events: RolloutEvents = {}): Promise<GroupResult[]> {
    const { store, options } = this;
    const results: GroupResult[] = [];
    for (const together of this.turns(prompts.length)) {
      const first = results.length;
      const groups = prompts
        .slice(first, first + together)
        .map((prompt, i) => new Group(prompt, { update, group: first + i }, store.claim(options.keep[0]!), options));
      results.push(...(await this.draw(groups, events)));
    }
    return results;
  }

  private turns(groups: number): number[] {
    return groupsInTurn(groups, { ...this.options, latentShape: this.model.latentShape });
  }

  /** The steps for so many groups; a number that was not planned for, of an update with few prompts, is captured when it comes. */
  private async stepsFor(together: number): Promise<RolloutSteps> {
    const { model, store, options } = this;
    const known = this.steps.get(together);
    if (known) return known;
    const { transitions, pruneAt, prune, guidance } = options;
    const sizes = stagesOf(options).sizes.map((size) => together * size);
    const most = samplesAtOnce({ ...options, latentShape: model.latentShape });
    const previews = prune !== 'uniform';
    const steps = await captureRollout(model, store, { transitions, sizes, pruneAt, previews, guidance, most });
    this.steps.set(together, steps);
    return steps;
  }

  private async draw(groups: readonly Group[], events: RolloutEvents): Promise<GroupResult[]> {
    const { model, options } = this;
    const steps = await this.stepsFor(groups.length);
    const { batches, checkpoints, advance, finish } = steps;
    const { after } = stagesOf(options);
    const clock = new Clock();
    let batch = batches[0]!;
    this.begin(groups, steps);

    const score = async (step: number): Promise<GroupScores[]> => {
      await model.device.sync();
      clock.add('sample');
      const scores = await this.score(groups, steps, step, events);
      clock.add('reward');
      return scores;
    };
    for (const [i, step] of advance.entries()) {
      events.signal?.throwIfAborted();
      predict(batch);
      for (const group of groups) group.countCall();
      const checkpoint = checkpoints.find((each) => each.step === i);
      if (checkpoint) {
        checkpoint.preview?.run();
        const scores = checkpoint.preview && (await score(i));
        const [before, count] = [batch.size / groups.length, checkpoint.to.size / groups.length];
        const places = groups.map((group, g) => this.select(group, i, count, scores?.[g]?.total));
        checkpoint.picks.write(places.flatMap((list, g) => list.map((place) => g * before + place)));
        checkpoint.compact.run();
        batch = checkpoint.to;
      }
      step.run();
      if (events.onStep) {
        await model.device.sync();
        const alive = batch.size / groups.length;
        events.onStep({ group: groups[0]!.id.group, together: groups.length, step: i + 1, alive });
      }
    }
    finish.run();
    const scores = await score(advance.length);
    const seconds = clock.share(groups.length);
    return groups.map((group, g) => {
      const drawn = group.alive;
      if (after !== undefined) this.select(group, advance.length, after, scores[g]!.total);
      return group.result(scores[g]!, drawn, seconds);
    });
  }

  /** Writes what is the groups' own, and draws their initial latents. */
  private begin(groups: readonly Group[], { batches, start }: RolloutSteps): void {
    const first = batches[0]!;
    const { seed, sameLatent } = this.options;
    const keysOf = (samplesOf: (group: Group) => readonly number[]): number[] =>
      groups.flatMap((group) => sampleKeys(seed, group.id, samplesOf(group)));
    first.keys.write(keysOf(({ alive }) => alive));
    start.keys.write(keysOf(({ alive }) => (sameLatent ? alive.map(() => sharedSample) : alive)));
    first.slots.write(groups.flatMap(({ slots }) => slots));
    first.conditions.write(groups.flatMap(({ alive, id }) => alive.map(() => id.group)));
    start.step.run();
  }

  /** Decodes and scores what stands in the decoder, each group by itself. A picture that is not finite has no reward: NaN. */
  private async score(
    groups: readonly Group[],
    { decoders }: RolloutSteps,
    step: number,
    { onPictures }: RolloutEvents,
  ): Promise<GroupScores[]> {
    const size = groups[0]!.alive.length;
    const prompts = groups.flatMap(({ prompt }) => Array<Prompt>(size).fill(prompt));
    const pictures = await decoders.get(prompts.length)!.pictures(prompts);
    const { total, parts } = await this.reward.score(pictures, Array<number>(groups.length).fill(size));
    const rewards = total.map((value, i) => (pictures[i]!.finite ? value : Number.NaN));
    return groups.map((group, g) => {
      group.countDecode();
      const own = <T>(list: readonly T[]): T[] => list.slice(g * size, (g + 1) * size);
      const scored = own(pictures).map((picture, i): ScoredPicture => {
        return { ...picture, sample: group.alive[i]!, reward: rewards[g * size + i]! };
      });
      onPictures?.(group.id.group, step, scored);
      const ownParts = Object.entries(parts).map(([name, values]) => [name, own(values)] as const);
      return { total: own(rewards), parts: Object.fromEntries(ownParts) };
    });
  }

  /** Thins a group and gives back the slots of those that end here; the places of the others, rising. */
  private select(group: Group, step: number, count: number, rewards?: readonly number[]): number[] {
    const { places, freed } = group.select(step, count, rewards);
    this.store.release(freed);
    return places;
  }

  dispose(): void {
    for (const steps of this.steps.values()) steps.dispose();
  }
}

/** Seconds by phase. */
class Clock {
  private readonly seconds = { sample: 0, reward: 0 };
  private last = performance.now();

  /** The time since the last call was spent on `phase`. */
  add(phase: 'sample' | 'reward'): void {
    const now = performance.now();
    this.seconds[phase] += (now - this.last) / 1000;
    this.last = now;
  }

  /** An equal part of both for each of `count`. */
  share(count: number): GroupResult['seconds'] {
    const { sample, reward } = this.seconds;
    return { sample: sample / count, reward: reward / count };
  }
}
