/** Online reinforcement learning by GRPO and Pro-GRPO: an update draws groups, scores them, and learns from the survivors. */

import { owning } from '../engine/owning.js';
import type { TrainingState } from './checkpoint.js';
import type { RunConfig } from './config.js';
import { rowCostOf, trainingCalls } from './cost.js';
import { groupAdvantages } from './learning/advantage.js';
import { ForwardLearner, type ForwardRow } from './learning/forward_learner.js';
import { Learner } from './learning/learner.js';
import { checkLoss, isForward, learnsFromEveryRow, trainedRows } from './learning/losses.js';
import { hasGuardedRatio, rowWeights } from './learning/row_weights.js';
import type { GenerativeModel, Prompt } from './model.js';
import { randomOrder } from './random.js';
import type { CombinedReward } from './rewards/reward.js';
import type { GroupResult } from './rollout/group.js';
import { Rollout, type RolloutEvents, type RolloutProgress } from './rollout/rollout.js';
import { Trajectories } from './rollout/trajectories.js';
import { callSizeOf, slotsOf } from './rollout/turns.js';
import { pathOf, windowOf } from './sampling/window.js';
import { costReport, finalRewards, type OptimizerReport, rewardReport, type UpdateReport } from './update_report.js';

/** What of a run's configuration the trainer reads. */
export type TrainerConfig = Pick<RunConfig, 'sampler' | 'grpo' | 'train' | 'seed'>;

/** The weights, or what they are computed from, are no longer finite numbers. */
export class DivergedError extends Error {
  override name = 'DivergedError';
}

/** Where an update stands. */
export type Progress =
  | (RolloutProgress & { readonly phase: 'sampling'; readonly groups: number })
  | { readonly phase: 'training'; readonly rows: number };

export interface UpdateOptions {
  /** Given one, every step is waited for, so that what it is told is true. */
  readonly onProgress?: (progress: Progress) => void;
  /** The previews of each selection and the final pictures of a group. */
  readonly onPictures?: RolloutEvents['onPictures'];
  /** Ends the update while it samples, by its reason. */
  readonly signal?: AbortSignal;
}

/** A survivor with its advantage. */
interface Trajectory {
  readonly slot: number;
  readonly group: number;
  readonly sample: number;
  readonly advantage: number;
  /** Steps of its path that are trained, or numbers of the draws that are made for it. */
  readonly steps: readonly number[];
}

const forgiven = 2; // optimizer steps in a row without a finite gradient

export class Trainer {
  /** Updates done, and optimizer steps. */
  private counters = { updates: 0, steps: 0 };
  /** Optimizer steps in a row, up to the last one, that were left out. */
  private leftOut = 0;

  private constructor(
    private readonly model: GenerativeModel,
    private readonly config: TrainerConfig,
    private readonly store: Trajectories,
    private readonly rollout: Rollout,
    private readonly learner: Learner | ForwardLearner,
  ) {}

  /** Captures every step of rollout and learning. Throws a CheckError for a configuration that makes no sense. */
  static create(model: GenerativeModel, reward: CombinedReward, config: TrainerConfig): Promise<Trainer> {
    return owning(async (own) => {
      const { grpo } = config;
      checkLoss(config, model.kind);
      const groups = grpo.groups_per_update;
      const transitions = pathOf(model, config, 0);
      const size = callSizeOf(model.latentShape, config);
      const keeps = isForward(grpo.loss) ? 'ends' : 'path';
      const slots = slotsOf(groups, size);
      const predictions = hasGuardedRatio(grpo);
      const store = own(Trajectories.create(model, { slots, groups, transitions, keeps, predictions }));
      const rollout = own(await Rollout.create(model, store, reward, config));
      const learner = await (isForward(grpo.loss) ? ForwardLearner : Learner).create(model, store, config);
      return new Trainer(model, config, store, rollout, learner);
    });
  }

  /** Updates done. */
  get updates(): number {
    return this.counters.updates;
  }

  /**
   * One update: a group for each prompt (`grpo.groups_per_update` of them at most), then `grpo.updates_per_rollout` optimizer
   * steps. Throws a RewardError or the signal's reason, and everything is as before; or a DivergedError, after which only
   * a checkpoint will do.
   */
  async update(prompts: readonly Prompt[], options: UpdateOptions = {}): Promise<UpdateReport> {
    const { onProgress, onPictures, signal } = options;
    const update = this.counters.updates;
    this.store.clear();
    this.store.follow(pathOf(this.model, this.config, update));
    this.store.encode(prompts.map(({ prompt }) => prompt));
    const groups = await this.rollout.sample(prompts, update, {
      onStep: onProgress && ((drawn) => onProgress({ phase: 'sampling', groups: prompts.length, ...drawn })),
      onPictures,
      signal,
    });
    signal?.throwIfAborted();
    const baselines = groups.map(({ baseline }) => baseline);
    const advantages = groupAdvantages(finalRewards(groups), { ...this.config.grpo, baselines });
    const start = performance.now();
    const trajectories = this.trajectoriesOf(groups, advantages);
    if (trajectories.length === 0) throw new DivergedError(`update ${update}: no picture of its groups is finite`);
    const steps: OptimizerReport[] = [];
    const minibatches = this.minibatchesOf(trajectories).map((own) => own.flatMap((each) => this.rowsOf(each)));
    if (this.learner instanceof ForwardLearner) this.learner.remember(minibatches.flatMap((rows) => this.taught(rows)));
    for (const [i, minibatch] of minibatches.entries()) steps.push(await this.learn(minibatch, i === 0, onProgress));
    this.counters.updates++;
    const train = (performance.now() - start) / 1000;
    const trained = trajectories.reduce((sum, each) => sum + each.steps.length, 0);
    const cost = costReport(groups, trained, train);
    return { update, groups, advantages, ...rewardReport(groups), steps, ...cost, flops: this.flopsOf(cost, steps) };
  }

  /** Arithmetic of an update in FLOP, counted as cost.ts does; rewards' own networks are not in it. */
  private flopsOf(
    { counts: { calls, decodes } }: Pick<UpdateReport, 'counts'>,
    steps: readonly OptimizerReport[],
  ): number {
    const { network, decode } = this.rollout.costs;
    const rows = steps.reduce((sum, step) => sum + step.rows, 0);
    return network * (calls + rows * trainingCalls(rowCostOf(this.config))) + decodes * decode;
  }

  private trajectoriesOf(groups: readonly GroupResult[], advantages: readonly (readonly number[])[]): Trajectory[] {
    const { config } = this;
    const { updates } = this.counters;
    const { start } = windowOf(config, updates);
    return groups.flatMap(({ survivors }, group) =>
      survivors.map(({ slot, sample }, i) => {
        const steps = trainedRows(config, [config.seed, updates, group, sample], start);
        return { slot, group, sample, advantage: advantages[group]![i]!, steps };
      }),
    );
  }

  private rowsOf({ slot, group: condition, sample, advantage, steps }: Trajectory): ForwardRow[] {
    const { updates: update } = this.counters;
    const { grpo } = this.config;
    const weights = isForward(grpo.loss)
      ? steps.map(() => 1) // these are draws, not steps
      : rowWeights(
          grpo,
          steps.map((step) => this.store.transitions[step]!),
        );
    return steps.map((step, i) => ({ slot, step, condition, advantage: advantage * weights[i]!, sample, update }));
  }

  /** The rows that teach something. */
  private taught(rows: readonly ForwardRow[]): readonly ForwardRow[] {
    return learnsFromEveryRow(this.config.grpo) ? rows : rows.filter(({ advantage }) => advantage !== 0);
  }

  /** The trajectories of each optimizer step: all, or equal shares of a random order. */
  private minibatchesOf(trajectories: readonly Trajectory[]): Trajectory[][] {
    const { grpo, seed } = this.config;
    const count = Math.min(grpo.updates_per_rollout, trajectories.length);
    if (count === 1) return [[...trajectories]];
    const order = randomOrder(trajectories.length, seed, this.counters.updates, trajectories.length);
    const end = (minibatch: number): number => Math.round((minibatch * trajectories.length) / count);
    return Array.from({ length: count }, (_, m) => order.slice(end(m), end(m + 1)).map((i) => trajectories[i]!));
  }

  /**
   * One optimizer step. Before the first one of a rollout the policy is the one that drew it: every ratio must be 1, and every
   * prediction the one that was kept.
   */
  private async learn(
    all: readonly ForwardRow[],
    isFirst: boolean,
    onProgress?: UpdateOptions['onProgress'],
  ): Promise<OptimizerReport> {
    const rows = this.taught(all);
    onProgress?.({ phase: 'training', rows: rows.length });
    const report = await this.learner.accumulate(rows, all.length);
    const finite = Number.isFinite(report.policyLoss) && Number.isFinite(report.kl);
    const { ratioDeviation = 0, predictionDeviation = 0 } = report;
    if (isFirst && finite && ratioDeviation !== 0) {
      throw new Error(
        `ratio: before the first step of a rollout every ratio must be 1, found one off by ${ratioDeviation}; ` +
          'sampling and training do not compute the same bits on this device',
      );
    }
    if (isFirst && finite && predictionDeviation !== 0) {
      throw new Error(
        `prediction: before the first step of a rollout every prediction must be the one that was kept, found one off by ${predictionDeviation}; ` +
          'the same network does not compute the same bits twice on this device',
      );
    }
    if (rows.length === 0) return { ...report, gradNorm: 0, rows: 0 };
    const gradNorm = await this.learner.apply(this.counters.steps++);
    this.leftOut = finite && Number.isFinite(gradNorm) ? 0 : this.leftOut + 1;
    if (this.leftOut > forgiven) {
      throw new DivergedError(
        `update ${this.counters.updates}: the gradients of ${this.leftOut} steps in a row are not finite (loss ${report.policyLoss}, KL ${report.kl})`,
      );
    }
    return { ...report, gradNorm, rows: rows.length };
  }

  /** Runs `body` with the moving averages in place of the weights, or as it is where there are none. */
  async withAverages<R>(body: () => Promise<R>): Promise<R> {
    const { ema } = this.learner;
    ema?.swap();
    try {
      return await body();
    } finally {
      ema?.swap();
    }
  }

  /** Everything that the next update depends on besides the configuration, for a checkpoint. */
  get state(): TrainingState {
    const { optimizer, ema, reference } = this.learner;
    const names = [...this.model.trainable.keys()];
    return {
      tensors: {
        adapter: this.model.trainable,
        optimizer: new Map(Object.entries(optimizer.stateTensors())),
        ...(ema && { ema: new Map(names.map((name, i) => [name, ema.averages[i]!])) }),
        ...(reference?.copy && { reference: reference.copy }),
      },
      counters: this.counters,
    };
  }

  dispose(): void {
    for (const each of [this.rollout, this.learner, this.store]) each.dispose();
  }
}
