/**
 * Rollouts: groups of samples of one prompt, thinned while they are drawn (Pro-GRPO, section 4.3). Before a step that only some
 * take, the prediction that was computed for it anyway gives a preview of each sample's end; rewards of the previews decide
 * which samples take the step, with that same prediction. The others stop before it and cost nothing more.
 *
 * Groups of an update are drawn together as far as memory allows: they have the same sizes at every step, so one network call,
 * one decode and one call of the rewards serve them all, while noise, scores and selections are each group's own.
 */

import { owning } from '../../engine/owning.js';
import type { GrpoConfig, SamplerConfig } from '../config.js';
import type { AtomicCosts } from '../cost.js';
import type { GenerativeModel, Prompt } from '../model.js';
import type { CombinedReward } from '../rewards/reward.js';
import { type DrawnGroup, Group, type GroupResult, type GroupScores, sampleKeys, sharedSample } from './group.js';
import type { Picture } from './pictures.js';
import { type BatchRows, RolloutBatch } from './rollout_batch.js';
import { type Stage, stagesOf } from './stages.js';
import type { Trajectories } from './trajectories.js';
import { type CallSize, groupsInTurn, samplesAtOnce } from './turns.js';

export interface RolloutOptions {
  readonly sampler: Pick<SamplerConfig, 'guidance' | 'batch' | 'same_latent'>;
  readonly grpo: Pick<GrpoConfig, 'keep' | 'prune_at' | 'prune'>;
  /** What noise and random selections are functions of, besides update, group and sample. */
  readonly seed: number;
  /** The stages of a group. Default: those that `grpo` stands for. */
  readonly stages?: readonly Stage[];
  /** Numbers of prompts that are going to be drawn at a time, which is prepared for. Default: as many as the store has room for. */
  readonly prompts?: readonly number[];
}

/** How far groups that are drawn together are. */
export interface RolloutProgress {
  /** Number of the first of them, and how many they are. */
  readonly group: number;
  readonly together: number;
  /** How many steps are done. */
  readonly step: number;
  /** Samples of each group that took the last of them. */
  readonly alive: number;
}

export interface RolloutEvents {
  /** After each step. Given one, every step is waited for. */
  readonly onStep?: ((progress: RolloutProgress) => void) | undefined;
  /** The pictures of each selection and of the end, with the samples' numbers and their rewards, group by group. */
  readonly onPictures?: ((group: number, step: number, pictures: readonly ScoredPicture[]) => void) | undefined;
  /** Ends the rollout before its next step, or the waiting for a reward, by its reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface ScoredPicture extends Picture {
  /** Its number in the group. */
  readonly sample: number;
  /** What selections go by; NaN of a sample that is lost. */
  readonly reward: number;
  /** Raw scores by the reward's name. */
  readonly parts: Readonly<Record<string, number>>;
}

/** Draws the groups of updates from steps that are captured once. */
export class Rollout {
  /** The batches of all stages, by the number of groups that are drawn together. */
  private readonly batches = new Map<number, readonly RolloutBatch[]>();

  private constructor(
    private readonly model: GenerativeModel,
    private readonly store: Trajectories,
    private readonly reward: CombinedReward,
    private readonly options: RolloutOptions,
    private readonly stages: readonly Stage[],
  ) {}

  /**
   * Captures what draws as many groups as the store has prompts, by its transitions. Throws a CheckError for stages that make
   * no sense.
   */
  static create(
    model: GenerativeModel,
    store: Trajectories,
    reward: CombinedReward,
    options: RolloutOptions,
  ): Promise<Rollout> {
    return owning(async (own) => {
      const { grpo, stages = stagesOf({ sampler: { steps: store.transitions.length }, grpo }) } = options;
      const rollout = own(new Rollout(model, store, reward, options, stages));
      const { prompts = [store.options.groups] } = options;
      for (const together of prompts.flatMap((count) => rollout.turns(count))) await rollout.batchesFor(together);
      return rollout;
    });
  }

  /**
   * Draws a group of each prompt of an update, the first of which has the number `first`. Their conditions must stand in the
   * store's rows of these numbers.
   */
  async sample(
    prompts: readonly Prompt[],
    update: number,
    events: RolloutEvents = {},
    first = 0,
  ): Promise<DrawnGroup[]> {
    const { store, stages, options } = this;
    const results: DrawnGroup[] = [];
    for (const together of this.turns(prompts.length)) {
      const start = results.length;
      const groups = prompts
        .slice(start, start + together)
        .map(
          (prompt, i) =>
            new Group(prompt, { update, group: first + start + i }, store.claim(stages[0]!.size), options.seed),
        );
      results.push(...(await this.draw(groups, events)));
    }
    return results;
  }

  private turns(groups: number): number[] {
    return groupsInTurn(groups, this.callSize);
  }

  private get callSize(): CallSize {
    return { latentShape: this.model.latentShape, stages: this.stages, batch: this.options.sampler.batch };
  }

  /** The batches for so many groups; a number that was not planned for, of an update with few prompts, is captured when it comes. */
  private async batchesFor(together: number): Promise<readonly RolloutBatch[]> {
    const { model, store, options, stages } = this;
    const known = this.batches.get(together);
    if (known) return known;
    const batches = await owning(async (own) => {
      const made: RolloutBatch[] = [];
      const most = samplesAtOnce(this.callSize);
      for (const stage of stages) {
        const given = { stage, together, sampler: options.sampler, most, before: made.at(-1) };
        made.push(own(await RolloutBatch.create(model, store, given)));
      }
      return made;
    });
    this.batches.set(together, batches);
    return batches;
  }

  private async draw(groups: readonly Group[], events: RolloutEvents): Promise<DrawnGroup[]> {
    const { model, store, stages } = this;
    const { seed, sampler } = this.options;
    const batches = await this.batchesFor(groups.length);
    const clock = new Clock();
    const score = async (batch: RolloutBatch, step: number): Promise<GroupScores[]> => {
      await model.device.sync();
      clock.add('sample');
      const scores = await this.score(groups, batch, step, events);
      clock.add('reward');
      return scores;
    };
    const shared = ({ alive }: Group): readonly number[] => alive.map(() => sharedSample);
    batches[0]!.start(rowsOf(seed, groups), keysOf(seed, groups, sampler.same_latent ? shared : undefined));
    let stage = 0;
    for (const i of store.transitions.keys()) {
      events.signal?.throwIfAborted();
      batches[stage]!.predict(i);
      for (const group of groups) group.countCall();
      const { selection, scored, size } = stages[stage]!;
      if (selection?.step === i) {
        if (scored === 'previews') batches[stage]!.preview(i);
        const scores = scored === 'previews' ? await score(batches[stage]!, i) : undefined;
        const picks = groups.flatMap((group, g) => {
          const { places, freed } = group.select(selection, scores?.[g]);
          store.release(freed);
          return places.map((place) => g * size + place);
        });
        stage++;
        batches[stage]!.take(rowsOf(seed, groups), picks);
      }
      batches[stage]!.advance(i);
      if (events.onStep) {
        await model.device.sync();
        const alive = stages[stage]!.size;
        events.onStep({ group: groups[0]!.id.group, together: groups.length, step: i + 1, alive });
      }
    }
    batches[stage]!.finish();
    const scores = await score(batches[stage]!, store.transitions.length);
    const seconds = clock.share(groups.length);
    return groups.map((group, g) => {
      const { result, freed } = group.finish(scores[g]!, stages[stage]!.selection, seconds);
      store.release(freed);
      return result;
    });
  }

  /**
   * Decodes and scores what stands in a batch's decoder, each group by itself. A sample whose picture or reward is not finite
   * is lost: its reward is NaN from here on, and the group sees to it that it is neither selected by it nor trained on.
   */
  private async score(
    groups: readonly Group[],
    { decoder }: RolloutBatch,
    step: number,
    { onPictures, signal }: RolloutEvents,
  ): Promise<GroupScores[]> {
    const size = groups[0]!.alive.length;
    const prompts = groups.flatMap(({ prompt }) => Array<Prompt>(size).fill(prompt));
    const pictures = await decoder!.pictures(prompts);
    const { total, byReward } = await this.reward.score(pictures, Array<number>(groups.length).fill(size), { signal });
    const rewards = total.map((value, i) => (pictures[i]!.finite && Number.isFinite(value) ? value : Number.NaN));
    return groups.map((group, g) => {
      const own = <T>(list: readonly T[]): T[] => list.slice(g * size, (g + 1) * size);
      const raw = Object.fromEntries(Object.entries(byReward).map(([name, values]) => [name, own(values)]));
      const scored = own(pictures).map((picture, i): ScoredPicture => {
        const parts = Object.fromEntries(Object.entries(raw).map(([name, values]) => [name, values[i]!]));
        return { ...picture, sample: group.alive[i]!, reward: rewards[g * size + i]!, parts };
      });
      onPictures?.(group.id.group, step, scored);
      return { rewards: own(rewards), byReward: raw };
    });
  }

  /** Arithmetic of one sample's network call and of one decode in FLOP, as the captured steps count it. */
  get costs(): AtomicCosts {
    const last = [...this.batches.values()][0]!.at(-1)!; // its pictures are decoded, whoever selects
    return { network: last.flops, decode: last.decoder!.flops };
  }

  dispose(): void {
    for (const batch of [...this.batches.values()].flat()) batch.dispose();
  }
}

/** Keys of the groups' noise; those of other samples' numbers where `samplesOf` says so. */
const keysOf = (
  seed: number,
  groups: readonly Group[],
  samplesOf: (group: Group) => readonly number[] = ({ alive }) => alive,
): number[] => groups.flatMap((group) => sampleKeys(seed, group.id, samplesOf(group)));

/** What the groups' samples are, for a batch. */
const rowsOf = (seed: number, groups: readonly Group[]): BatchRows => ({
  keys: keysOf(seed, groups),
  slots: groups.flatMap(({ slots }) => slots),
  conditions: groups.flatMap(({ alive, id }) => alive.map(() => id.group)),
});

/** Adds up the seconds that sampling and rewards take. */
class Clock {
  private readonly seconds = { sample: 0, reward: 0 };
  private last = performance.now();

  /** The time since the last call was spent on `phase`. */
  add(phase: 'sample' | 'reward'): void {
    const now = performance.now();
    this.seconds[phase] += (now - this.last) / 1000;
    this.last = now;
  }

  /** Both, divided equally among `count`. */
  share(count: number): GroupResult['seconds'] {
    const { sample, reward } = this.seconds;
    return { sample: sample / count, reward: reward / count };
  }
}
