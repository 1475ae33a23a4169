/** Shards on one device: of a run without workers all of an update, of a worker those that it is given. */
import { check } from '../../engine/errors.js';
import { owning } from '../../engine/owning.js';
import type { RunConfig } from '../config.js';
import type { AtomicCosts } from '../cost.js';
import { ForwardLearner, type ForwardRow } from '../learning/forward_learner.js';
import type { GradientSum } from '../learning/gradient_sum.js';
import { Learner } from '../learning/learner.js';
import { checkLoss, isForward } from '../learning/losses.js';
import type { Reference } from '../learning/reference.js';
import { hasGuardedRatio } from '../learning/row_weights.js';
import type { Minibatch, Row } from '../learning/rows.js';
import type { GenerativeModel, Prompt } from '../model.js';
import type { CombinedReward } from '../rewards/reward.js';
import type { DrawnGroup, GroupResult } from '../rollout/group.js';
import { Rollout, type RolloutEvents } from '../rollout/rollout.js';
import { Trajectories } from '../rollout/trajectories.js';
import { callSizeOf, slotsOf } from '../rollout/turns.js';
import { pathOf } from '../sampling/window.js';
import { microBatchOf, rowsIn, type Shard, shardSizes, shardsOf } from './shards.js';
import type { Adder, ShardSource } from './source.js';

/** What of a run's configuration an update is a function of. */
export type ShardConfig = Pick<RunConfig, 'sampler' | 'grpo' | 'rollout' | 'train' | 'workers' | 'seed'>;

export class LocalShards implements ShardSource {
  private update = 0;
  private shards: readonly Shard[] = [];
  private minibatches: readonly Minibatch[] = [];
  /** Slots of the survivors, by group and sample. */
  private readonly slots = new Map<string, number>();

  private constructor(
    private readonly model: GenerativeModel,
    private readonly config: ShardConfig,
    private readonly store: Trajectories,
    private readonly rollout: Rollout,
    private readonly learner: Learner | ForwardLearner,
  ) {}

  /**
   * Captures every step of rollout and learning: what draws all of an update's groups, or with `apart` one shard at a time. Throws
   * a CheckError for a configuration that makes no sense.
   */
  static create(
    model: GenerativeModel,
    reward: CombinedReward,
    config: ShardConfig,
    { apart = false } = {},
  ): Promise<LocalShards> {
    return owning(async (own) => {
      const { grpo, sampler, seed } = config;
      checkLoss(config, model.kind);
      const rows = microBatchOf(config);
      const groups = grpo.groups_per_update;
      const transitions = pathOf(model, config, 0);
      const slots = slotsOf(groups, callSizeOf(model.latentShape, config, reward.waited));
      const keeps = isForward(grpo.loss) ? 'ends' : 'path';
      const predictions = hasGuardedRatio(grpo);
      const store = own(Trajectories.create(model, { slots, groups, transitions, keeps, predictions }));
      const draws = apart ? [...new Set(shardSizes(groups, config.workers.shards))] : [groups];
      const rollout = own(await Rollout.create(model, store, reward, { ...config, draws }));
      const learning = { sampler, grpo, rows, seed };
      const learner = await (isForward(grpo.loss) ? ForwardLearner : Learner).create(model, store, learning);
      return new LocalShards(model, config, store, rollout, learner);
    });
  }

  get sum(): GradientSum {
    return this.learner.sum;
  }

  get reference(): Reference | undefined {
    return this.learner.reference;
  }

  get costs(): AtomicCosts {
    return this.rollout.costs;
  }

  async draw(update: number, prompts: readonly Prompt[], events: RolloutEvents): Promise<readonly GroupResult[]> {
    this.follow(update);
    this.shards = shardsOf(prompts.length, this.config.workers.shards);
    return this.drawGroups(0, prompts, events);
  }

  /** Forgets the groups of another update; what is drawn from now on is of this one. */
  follow(update: number): void {
    this.update = update;
    this.slots.clear();
    this.store.clear();
    this.store.follow(pathOf(this.model, this.config, update));
  }

  /** Draws groups of the update, of which the first has the number `first`. */
  async drawGroups(first: number, prompts: readonly Prompt[], events: RolloutEvents): Promise<DrawnGroup[]> {
    this.store.encode(
      prompts.map(({ prompt }) => prompt),
      first,
    );
    const groups = await this.rollout.sample(prompts, this.update, events, first);
    for (const [g, { survivors }] of groups.entries())
      for (const { sample, slot } of survivors) this.slots.set(`${first + g} ${sample}`, slot);
    return groups;
  }

  begin(minibatches: readonly Minibatch[]): void {
    this.minibatches = minibatches;
    this.remember(minibatches.flatMap(({ rows }) => rows));
  }

  /** Keeps the predictions for rows, by the weights as they are, where the loss needs them. */
  remember(rows: readonly Row[]): void {
    if (this.learner instanceof ForwardLearner) this.learner.remember(this.placed(rows));
  }

  async differentiate(step: number, adder: Adder): Promise<void> {
    const { rows, total } = this.minibatches[step]!;
    for (const shard of this.shards) {
      this.add(rowsIn(shard, rows), total);
      adder.collect();
    }
  }

  /** Adds the gradients of the rows' mean loss, where `total` rows make the mean. */
  add(rows: readonly Row[], total: number): void {
    this.learner.add(this.placed(rows), total);
  }

  /** Begins the sum anew. */
  clear(): void {
    this.learner.clear();
  }

  private placed(rows: readonly Row[]): ForwardRow[] {
    return rows.map((row) => {
      const slot = this.slots.get(`${row.group} ${row.sample}`);
      check(slot !== undefined, `update ${this.update}: sample ${row.sample} of group ${row.group} is not here`);
      return { ...row, slot, condition: row.group, update: this.update };
    });
  }

  dispose(): void {
    for (const each of [this.rollout, this.learner, this.store]) each.dispose();
  }
}
