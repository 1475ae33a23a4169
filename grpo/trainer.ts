/** Online reinforcement learning by GRPO and Pro-GRPO: an update draws groups, scores them, and learns from the survivors. */

import type { TrainingState } from './checkpoint.js';
import type { RunConfig } from './config.js';
import { groupAdvantages, type Moments, momentsOf } from './learning/advantage.js';
import { Learner, type LearningReport, type TrainingRow } from './learning/learner.js';
import { trainedSteps } from './learning/timesteps.js';
import type { GenerativeModel, Prompt } from './model.js';
import { randomOrder } from './random.js';
import type { CombinedReward } from './rewards/reward.js';
import type { GroupResult } from './rollout/group.js';
import { Rollout, type RolloutProgress, type ScoredPicture } from './rollout/rollout.js';
import { type RolloutOptions, slotsOf, stagesOf } from './rollout/stages.js';
import { Trajectories } from './rollout/trajectories.js';
import { transitionsOf } from './sampling/transitions.js';

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
  /** The previews of each checkpoint and the final pictures of a group. */
  readonly onPictures?: (group: number, step: number, pictures: readonly ScoredPicture[]) => void;
  /** Ends the update while it samples, by its reason. */
  readonly signal?: AbortSignal;
}

/** One optimizer step. */
export interface OptimizerReport extends LearningReport {
  /** Norm of the gradient before clipping; 0 where no row had an advantage. Not finite: the step was left out. */
  readonly gradNorm: number;
  /** Steps of trajectories that were computed; rows without advantage are left out where there is no divergence. */
  readonly rows: number;
}

export interface UpdateReport {
  /** Number of the update, from 0. */
  readonly update: number;
  readonly groups: readonly GroupResult[];
  /** Of the survivors of each group. */
  readonly advantages: readonly (readonly number[])[];
  /** Final rewards of the survivors. */
  readonly reward: Moments;
  /** The first rewards each group got (previews of the first checkpoint, or final ones), mean over groups of the group's mean and std. */
  readonly all: Moments;
  /** The same of the survivors' final rewards: the spread that is learned from. */
  readonly kept: Moments;
  /** Mean of each reward over the final pictures. */
  readonly parts: Readonly<Record<string, number>>;
  /** Share of the groups whose survivors have equal rewards: nothing is learned from them. */
  readonly zeroSpread: number;
  readonly steps: readonly OptimizerReport[];
  /** Network calls of sampling, pictures decoded, survivors, and steps of trajectories trained (zero advantages included). */
  readonly counts: {
    readonly calls: number;
    readonly decodes: number;
    readonly survivors: number;
    readonly trained: number;
  };
  readonly seconds: { readonly sample: number; readonly reward: number; readonly train: number };
}

/** A survivor with its advantage. */
interface Trajectory {
  readonly slot: number;
  readonly group: number;
  readonly advantage: number;
  readonly steps: readonly number[];
}

const forgiven = 2; // optimizer steps in a row without a finite gradient

export class Trainer {
  /** Updates done, and optimizer steps. */
  private counters = { updates: 0, steps: 0 };
  private lost = 0;

  private constructor(
    private readonly model: GenerativeModel,
    private readonly config: TrainerConfig,
    private readonly store: Trajectories,
    private readonly rollout: Rollout,
    private readonly learner: Learner,
  ) {}

  /** Captures every step of rollout and learning. Throws a CheckError for a configuration that makes no sense. */
  static async create(model: GenerativeModel, reward: CombinedReward, config: TrainerConfig): Promise<Trainer> {
    const { sampler, grpo, train, seed } = config;
    const transitions = transitionsOf(model.schedule(sampler.steps, sampler.kind), {
      kind: sampler.kind,
      noise: sampler.noise,
      stochasticEnd: grpo.train_last_step,
    });
    const groups = grpo.groups_per_update;
    const plan: RolloutOptions = {
      transitions,
      keep: grpo.keep,
      pruneAt: grpo.prune_at,
      prune: grpo.prune,
      guidance: sampler.guidance,
      batch: sampler.batch,
      sameLatent: sampler.same_latent,
      seed,
    };
    stagesOf(plan); // refused before anything is allocated
    const made: { dispose(): void }[] = [];
    const keep = <T extends { dispose(): void }>(thing: T): T => {
      made.push(thing);
      return thing;
    };
    try {
      const slots = slotsOf(groups, { ...plan, latentShape: model.latentShape });
      const store = keep(new Trajectories(model, { slots, steps: sampler.steps, groups }));
      const rollout = keep(await Rollout.create(model, store, reward, plan));
      const learner = await Learner.create(model, store, {
        transitions,
        guidance: sampler.guidance,
        detachUnconditional: sampler.detach_unconditional,
        clip: grpo.clip,
        kl: grpo.kl,
        klForm: grpo.kl_form,
        microBatch: train.micro_batch,
        lr: train.lr,
        weightDecay: train.weight_decay,
        betas: train.betas,
        eps: train.eps,
        gradNorm: train.grad_norm,
        ema: train.ema,
      });
      return new Trainer(model, config, store, rollout, learner);
    } catch (error) {
      for (const thing of made.reverse()) thing.dispose();
      throw error;
    }
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
    const { grpo } = this.config;
    const update = this.counters.updates;
    this.store.clear();
    this.store.encode(prompts.map(({ prompt }) => prompt));
    const groups = await this.rollout.sample(prompts, update, {
      onStep: onProgress && ((drawn) => onProgress({ phase: 'sampling', groups: prompts.length, ...drawn })),
      onPictures,
      signal,
    });
    signal?.throwIfAborted();
    const finals = groups.map(({ survivors }) => survivors.map(({ reward }) => reward));
    const advantages = groupAdvantages(finals, {
      eps: grpo.advantage_eps,
      max: grpo.advantage_max,
      globalStd: grpo.global_std,
    });
    const start = performance.now();
    const trajectories = this.trajectoriesOf(groups, advantages);
    if (trajectories.length === 0) throw new DivergedError(`update ${update}: no picture of its groups is finite`);
    const steps: OptimizerReport[] = [];
    for (const [i, part] of this.partsOf(trajectories).entries())
      steps.push(await this.learn(part, i === 0, onProgress));
    this.counters.updates++;
    const train = (performance.now() - start) / 1000;
    return { update, groups, advantages, ...summary(groups, finals), steps, ...totals(groups, trajectories, train) };
  }

  /** The survivors whose pictures are finite: others hold NaN that would reach every weight. */
  private trajectoriesOf(groups: readonly GroupResult[], advantages: readonly (readonly number[])[]): Trajectory[] {
    const { sampler, grpo, seed } = this.config;
    const { updates } = this.counters;
    return groups.flatMap(({ survivors }, group) =>
      survivors.flatMap(({ slot, sample, reward }, i) => {
        if (!Number.isFinite(reward)) return [];
        const steps = trainedSteps({
          steps: sampler.steps,
          fraction: grpo.timestep_fraction,
          trainLast: grpo.train_last_step,
          ...(grpo.shuffle_timesteps && { shuffle: [seed, updates, group, sample] }),
        });
        return [{ slot, group, advantage: advantages[group]![i]!, steps }];
      }),
    );
  }

  /** The trajectories of each optimizer step: all, or equal parts of a random order. */
  private partsOf(trajectories: readonly Trajectory[]): Trajectory[][] {
    const { grpo, seed } = this.config;
    const parts = Math.min(grpo.updates_per_rollout, trajectories.length);
    if (parts === 1) return [[...trajectories]];
    const order = randomOrder(trajectories.length, seed, this.counters.updates, trajectories.length);
    const end = (part: number): number => Math.round((part * trajectories.length) / parts);
    return Array.from({ length: parts }, (_, p) => order.slice(end(p), end(p + 1)).map((i) => trajectories[i]!));
  }

  /** One optimizer step. Before the first one of a rollout the policy is the one that drew it: every ratio must be 1. */
  private async learn(
    trajectories: readonly Trajectory[],
    isFirst: boolean,
    onProgress?: UpdateOptions['onProgress'],
  ): Promise<OptimizerReport> {
    const all = trajectories.flatMap(({ slot, group: condition, advantage, steps }) =>
      steps.map((step): TrainingRow => ({ slot, step, condition, advantage })),
    );
    const rows = this.config.grpo.kl > 0 ? all : all.filter(({ advantage }) => advantage !== 0);
    onProgress?.({ phase: 'training', rows: rows.length });
    const report = await this.learner.accumulate(rows, all.length);
    const finite = Number.isFinite(report.policyLoss) && Number.isFinite(report.kl);
    if (isFirst && finite && report.ratioDeviation !== 0) {
      throw new Error(
        `ratio: before the first step of a rollout every ratio must be 1, found one off by ${report.ratioDeviation}; ` +
          'sampling and training do not compute the same bits on this device',
      );
    }
    if (rows.length === 0) return { ...report, gradNorm: 0, rows: 0 };
    const gradNorm = await this.learner.apply(this.counters.steps++);
    this.lost = finite && Number.isFinite(gradNorm) ? 0 : this.lost + 1;
    if (this.lost > forgiven) {
      throw new DivergedError(
        `update ${this.counters.updates}: the gradients of ${this.lost} steps in a row are not finite (loss ${report.policyLoss}, KL ${report.kl})`,
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
    const { optimizer, ema } = this.learner;
    const names = [...this.model.trainable.keys()];
    return {
      tensors: {
        adapter: this.model.trainable,
        optimizer: new Map(Object.entries(optimizer.stateTensors())),
        ...(ema && { ema: new Map(names.map((name, i) => [name, ema.averages[i]!])) }),
      },
      counters: this.counters,
    };
  }

  dispose(): void {
    for (const each of [this.rollout, this.learner, this.store]) each.dispose();
  }
}

const meanOf = (values: readonly number[]): number => momentsOf(values).mean;

/** Mean over the groups of each group's mean and deviation; rewards that are not finite are left out. */
function spreadOf(groups: readonly (readonly number[])[]): Moments {
  const moments = groups.map((rewards) => momentsOf(rewards.filter(Number.isFinite)));
  return { mean: meanOf(moments.map(({ mean }) => mean)), std: meanOf(moments.map(({ std }) => std)) };
}

function summary(groups: readonly GroupResult[], finals: readonly (readonly number[])[]) {
  const names = Object.keys(groups[0]?.parts ?? {});
  const isFlat = (rewards: readonly number[]): boolean => momentsOf(rewards.filter(Number.isFinite)).std === 0;
  return {
    reward: momentsOf(finals.flat().filter(Number.isFinite)),
    all: spreadOf(groups.map((group) => group.selections[0]?.rewards ?? group.finals)),
    kept: spreadOf(finals),
    parts: Object.fromEntries(names.map((name) => [name, meanOf(groups.flatMap(({ parts }) => parts[name]!))])),
    zeroSpread: meanOf(finals.map((rewards) => (isFlat(rewards) ? 1 : 0))),
  };
}

function totals(groups: readonly GroupResult[], trajectories: readonly Trajectory[], train: number) {
  const sum = <T>(list: readonly T[], count: (each: T) => number): number =>
    list.reduce((total, each) => total + count(each), 0);
  return {
    counts: {
      calls: sum(groups, ({ calls }) => calls),
      decodes: sum(groups, ({ decodes }) => decodes),
      survivors: sum(groups, ({ survivors }) => survivors.length),
      trained: sum(trajectories, ({ steps }) => steps.length),
    },
    seconds: {
      sample: sum(groups, ({ seconds }) => seconds.sample),
      reward: sum(groups, ({ seconds }) => seconds.reward),
      train,
    },
  };
}
