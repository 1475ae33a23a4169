/** Online reinforcement learning by GRPO and Pro-GRPO: an update draws groups, scores them, and learns from the survivors. */

import { owning } from '../engine/owning.js';
import type { TrainingState } from './checkpoint.js';
import { rowCostOf, trainingCalls } from './cost.js';
import { OptimizerStep } from './learning/optimizer_step.js';
import { measuresOf } from './learning/report.js';
import { lessonOf, type Minibatch } from './learning/rows.js';
import type { GenerativeModel, Prompt } from './model.js';
import type { CombinedReward } from './rewards/reward.js';
import type { RolloutEvents, RolloutProgress } from './rollout/rollout.js';
import { LocalShards, type ShardConfig } from './shards/local.js';
import { shardsOf } from './shards/shards.js';
import type { ShardSource } from './shards/source.js';
import { costReport, type OptimizerReport, rewardReport, type UpdateReport } from './update_report.js';

/** What of a run's configuration the trainer reads. */
export type TrainerConfig = ShardConfig;

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

const forgiven = 2; // optimizer steps in a row without a finite gradient

export class Trainer {
  /** Updates done, and optimizer steps. */
  private counters = { updates: 0, steps: 0 };
  /** Optimizer steps in a row, up to the last one, that were left out. */
  private leftOut = 0;

  private constructor(
    private readonly model: GenerativeModel,
    private readonly config: TrainerConfig,
    /** Draws and differentiates. */
    private readonly source: ShardSource,
    private readonly optimizer: OptimizerStep,
  ) {}

  /** Captures every step of rollout and learning on the model's device. Throws a CheckError for a configuration that makes no sense. */
  static create(model: GenerativeModel, reward: CombinedReward, config: TrainerConfig): Promise<Trainer> {
    return Trainer.over(model, config, () => LocalShards.create(model, reward, config));
  }

  /** A trainer whose groups are drawn and differentiated by a source, which it disposes of. */
  static over(model: GenerativeModel, config: TrainerConfig, open: () => Promise<ShardSource>): Promise<Trainer> {
    return owning(async (own) => {
      const source = own(await open());
      const shards = shardsOf(config.grpo.groups_per_update, config.workers.shards).length;
      const step = { train: config.train, shards, measures: measuresOf(config.grpo) };
      return new Trainer(model, config, source, await OptimizerStep.create(model, source.sum, step));
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
    try {
      return await this.updated(prompts, options);
    } catch (error) {
      this.optimizer.clear(); // of what was added before it failed
      throw error;
    }
  }

  private async updated(prompts: readonly Prompt[], options: UpdateOptions): Promise<UpdateReport> {
    const { onProgress, onPictures, signal } = options;
    const { model, config, source } = this;
    const update = this.counters.updates;
    const events: RolloutEvents = {
      onStep: onProgress && ((drawn) => onProgress({ phase: 'sampling', groups: prompts.length, ...drawn })),
      onPictures,
      signal,
    };
    const groups = await source.draw(update, prompts, events, this.optimizer);
    signal?.throwIfAborted();
    const start = performance.now();
    const { advantages, minibatches } = lessonOf(model, config, { update, groups });
    const trained = minibatches.reduce((sum, { total }) => sum + total, 0);
    if (trained === 0) throw new DivergedError(`update ${update}: no picture of its groups is finite`);
    await source.begin(minibatches, signal);
    const steps: OptimizerReport[] = [];
    for (const [i, minibatch] of minibatches.entries()) steps.push(await this.learn(i, minibatch, options));
    this.counters.updates++;
    const train = (performance.now() - start) / 1000;
    const cost = costReport(groups, trained, train);
    return { update, groups, advantages, ...rewardReport(groups), steps, ...cost, flops: this.flopsOf(cost, steps) };
  }

  /** Arithmetic of an update in FLOP, counted as cost.ts does; rewards' own networks are not in it. */
  private flopsOf(
    { counts: { calls, decodes } }: Pick<UpdateReport, 'counts'>,
    steps: readonly OptimizerReport[],
  ): number {
    const { network, decode } = this.source.costs;
    const rows = steps.reduce((sum, step) => sum + step.rows, 0);
    return network * (calls + rows * trainingCalls(rowCostOf(this.config))) + decodes * decode;
  }

  /**
   * One optimizer step. Before the first one of a rollout the policy is the one that drew it: every ratio must be 1, and every
   * prediction the one that was kept.
   */
  private async learn(
    index: number,
    { rows, total }: Minibatch,
    { onProgress, signal }: UpdateOptions,
  ): Promise<OptimizerReport> {
    onProgress?.({ phase: 'training', rows: rows.length });
    const isFirst = index === 0;
    // Once weights have changed there is no way back to those before the update: it is done to its end.
    await this.source.differentiate(index, this.optimizer, isFirst ? signal : undefined);
    const report = await this.optimizer.report(rows.length, total);
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
    const gradNorm = await this.optimizer.apply(this.counters.steps++);
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
    const { ema } = this.optimizer;
    ema?.swap();
    try {
      return await body();
    } finally {
      ema?.swap();
    }
  }

  /** Everything that the next update depends on besides the configuration, for a checkpoint. */
  get state(): TrainingState {
    const { optimizer, ema } = this.optimizer;
    const { reference } = this.source;
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
    this.optimizer.dispose(); // before the sum that it reads
    this.source.dispose();
  }
}
