/** What an update tells of itself: its groups, the rewards they got, its optimizer steps, and what all of it cost. */
import { type Moments, momentsOf } from './learning/advantage.js';
import type { LearningReport } from './learning/report.js';
import type { GroupResult } from './rollout/group.js';

/** One optimizer step. */
export interface OptimizerReport extends LearningReport {
  /** Norm of the gradient before clipping; 0 where no row had an advantage. Not finite: the step was left out. */
  readonly gradNorm: number;
  /** Steps of trajectories, or forward rows, that were computed; those that teach nothing for want of an advantage are left out. */
  readonly rows: number;
}

/** What the rewards of an update's groups say. */
export interface RewardReport {
  /** Moments of all survivors' final rewards. */
  readonly reward: Moments;
  /** The first rewards each group got (of its first previews, or final ones), mean over groups of the group's mean and std. */
  readonly all: Moments;
  /** The same of the survivors' final rewards: the spread that is learned from. */
  readonly kept: Moments;
  /** Mean of each reward over the final pictures, by its name. */
  readonly byReward: Readonly<Record<string, number>>;
  /** Share of the groups whose survivors have equal rewards: nothing is learned from them. */
  readonly zeroSpread: number;
}

export interface UpdateReport extends RewardReport {
  /** Number of the update, from 0. */
  readonly update: number;
  readonly groups: readonly GroupResult[];
  /** Advantages of the survivors of each group, in their order. */
  readonly advantages: readonly (readonly number[])[];
  readonly steps: readonly OptimizerReport[];
  /**
   * Network calls of sampling, pictures decoded, survivors with those that were lost at the end, and steps of trajectories
   * or forward rows trained (those of advantage 0 included).
   */
  readonly counts: {
    readonly calls: number;
    readonly decodes: number;
    readonly survivors: number;
    readonly trained: number;
  };
  /** Arithmetic in FLOP: network calls, decodes and trained rows, without the rewards' own networks. */
  readonly flops: number;
  /** Of its groups' drawing and scoring, which may overlap and then sum to more than the update took, and of learning. */
  readonly seconds: { readonly sample: number; readonly reward: number; readonly train: number };
}

/** Final rewards of each group's survivors. */
export const finalRewards = (groups: readonly Pick<GroupResult, 'survivors'>[]): number[][] =>
  groups.map(({ survivors }) => survivors.map(({ reward }) => reward));

const meanOf = (values: readonly number[]): number => momentsOf(values).mean;

/** Mean over the groups of each group's mean and deviation. */
function spreadOf(groups: readonly (readonly number[])[]): Moments {
  const moments = groups.map((rewards) => momentsOf(rewards));
  return { mean: meanOf(moments.map(({ mean }) => mean)), std: meanOf(moments.map(({ std }) => std)) };
}

/** What the rewards of the groups of an update say. */
export function rewardReport(groups: readonly GroupResult[]): RewardReport {
  const finals = finalRewards(groups);
  const names = Object.keys(groups[0]?.byReward ?? {});
  const meanByReward = names.map((name) => [name, meanOf(groups.flatMap(({ byReward }) => byReward[name]!))] as const);
  return {
    reward: momentsOf(finals.flat()),
    all: spreadOf(groups.map(({ first }) => first)),
    kept: spreadOf(finals),
    byReward: Object.fromEntries(meanByReward),
    zeroSpread: meanOf(finals.map((rewards) => (momentsOf(rewards).std === 0 ? 1 : 0))),
  };
}

/** The cost of an update whose trajectories are trained for so many steps in all, which took so many seconds. */
export function costReport(
  groups: readonly GroupResult[],
  trained: number,
  train: number,
): Pick<UpdateReport, 'counts' | 'seconds'> {
  const sum = (count: (group: GroupResult) => number): number =>
    groups.reduce((total, group) => total + count(group), 0);
  return {
    counts: {
      calls: sum(({ calls }) => calls),
      decodes: sum(({ decodes }) => decodes),
      survivors: sum(({ survivors, lost }) => survivors.length + lost.length),
      trained,
    },
    seconds: {
      sample: sum(({ seconds }) => seconds.sample),
      reward: sum(({ seconds }) => seconds.reward),
      train,
    },
  };
}
