/**
 * Rollouts: groups of samples of one prompt, thinned while they are drawn (Pro-GRPO, section 4.3). Before a step that only some
 * take, the prediction that was computed for it anyway gives a preview of each sample's end; rewards of the previews decide
 * which samples take the step, with that same prediction. The others stop before it and cost nothing more.
 *
 * Groups of an update are drawn together as far as memory allows: they have the same sizes at every step, so one network call,
 * one decode and one call of the rewards serve them all, while noise, scores and selections are each group's own. They are a
 * turn. Where scores are waited for, the next turns are drawn meanwhile: noise is a function of numbers, so that no bit depends
 * on it.
 */

import { owning } from '../../engine/owning.js';
import type { GrpoConfig, RolloutConfig, SamplerConfig } from '../config.js';
import type { AtomicCosts } from '../cost.js';
import type { GenerativeModel, Prompt } from '../model.js';
import type { CombinedReward } from '../rewards/reward.js';
import type { RolloutEvents } from './events.js';
import { type DrawnGroup, Group } from './group.js';
import { Gate, inLanes } from './overlap.js';
import { Parking } from './parking.js';
import { RolloutBatch } from './rollout_batch.js';
import { type Stage, stagesOf } from './stages.js';
import type { Trajectories } from './trajectories.js';
import { drawTurn } from './turn.js';
import { type CallSize, groupsInTurn, type InFlight, inFlight, parkedSamples, samplesAtOnce } from './turns.js';

export type { RolloutEvents, RolloutProgress, ScoredPicture } from './events.js';

export interface RolloutOptions {
  readonly sampler: Pick<SamplerConfig, 'guidance' | 'batch' | 'same_latent'>;
  readonly grpo: Pick<GrpoConfig, 'keep' | 'prune_at' | 'prune'>;
  /** What noise and random selections are functions of, besides update, group and sample. */
  readonly seed: number;
  /** The stages of a group. Default: those that `grpo` stands for. */
  readonly stages?: readonly Stage[];
  /** Numbers of prompts that are going to be drawn at a time, which is prepared for. Default: as many as the store has room for. */
  readonly draws?: readonly number[];
  /** How many groups may wait for scores of rewards that are waited for. Default: none. */
  readonly rollout?: RolloutConfig;
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
    private readonly size: CallSize,
    private readonly inFlight: InFlight,
    private readonly parking: Parking | undefined,
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
      const { grpo, sampler, stages = stagesOf({ sampler: { steps: store.transitions.length }, grpo }) } = options;
      const { groups } = store.options;
      const ahead = reward.waited ? options.rollout?.ahead : 0;
      const size = { latentShape: model.latentShape, stages, batch: sampler.batch, ahead };
      const flight = inFlight(groups, size);
      const parked = parkedSamples(groups, size) / flight.turns;
      const parking = parked > 0 ? own(Parking.create(model, { lanes: flight.turns, samples: parked })) : undefined;
      const rollout = own(new Rollout(model, store, reward, options, size, flight, parking));
      const { draws = [groups] } = options;
      for (const together of draws.flatMap((count) => rollout.turns(count))) await rollout.batchesFor(together);
      return rollout;
    });
  }

  /**
   * Draws a group of each prompt of an update, the first of which has the number `first`. Their conditions must stand in the
   * store's rows of these numbers. Throws the error of the earliest turn that failed, or the signal's reason, when nothing is
   * in flight any more; the slots of what was drawn are then nobody's until the store is cleared.
   */
  async sample(
    prompts: readonly Prompt[],
    update: number,
    events: RolloutEvents = {},
    first = 0,
  ): Promise<DrawnGroup[]> {
    const { model, store, reward, size, options, parking } = this;
    const { sampler, seed } = options;
    const turns = this.turns(prompts.length);
    for (const together of turns) await this.batchesFor(together);
    const counts = { asked: 0, taken: 0 };
    const gates = { gpu: new Gate(), scoring: new Gate() };
    const shares = { model, store, reward, stages: size.stages, sampler, seed, parking, ...gates, counts };
    const drawn = await inLanes(turns.length, this.inFlight.turns, events.signal, async (task) => {
      const together = turns[task.number]!;
      const start = turns.slice(0, task.number).reduce((sum, count) => sum + count, 0);
      const groups = prompts.slice(start, start + together).map((prompt, i) => {
        const id = { update, group: first + start + i };
        return new Group(prompt, id, store.claim(size.stages[0]!.size), seed);
      });
      return drawTurn(shares, groups, await this.batchesFor(together), task, events);
    });
    return drawn.flat();
  }

  /** Of no more groups each than turns were planned to have: more slots and lanes are not there. */
  private turns(groups: number): number[] {
    return groupsInTurn(groups, this.size, this.inFlight.together);
  }

  /** The batches for so many groups; a number that was not planned for, of an update with few prompts, is captured when it comes. */
  private async batchesFor(together: number): Promise<readonly RolloutBatch[]> {
    const { model, store, options, size, parking } = this;
    const known = this.batches.get(together);
    if (known) return known;
    const batches = await owning(async (own) => {
      const made: RolloutBatch[] = [];
      const most = samplesAtOnce(size);
      for (const stage of size.stages) {
        const given = { stage, together, sampler: options.sampler, most, parking, before: made.at(-1) };
        made.push(own(await RolloutBatch.create(model, store, given)));
      }
      return made;
    });
    this.batches.set(together, batches);
    return batches;
  }

  /** Arithmetic of one sample's network call and of one decode in FLOP, as the captured steps count it. */
  get costs(): AtomicCosts {
    const last = [...this.batches.values()][0]!.at(-1)!; // its pictures are decoded, whoever selects
    return { network: last.flops, decode: last.decoder!.flops };
  }

  dispose(): void {
    for (const each of [...[...this.batches.values()].flat(), this.parking]) each?.dispose();
  }
}
