/** The numbers that tables show and claims compare. */
import type { UpdateRecord } from '../finetune/run/metrics.js';
import type { Quantity } from './experiment.js';
import type { EvaluationPoint, RunOutcome } from './outcome.js';
import { type PromptSet, trainedReward } from './recipe.js';
import { meanOf } from './statistics.js';

export interface RewardOptions {
  /** Which captions. Default held-out ones. */
  readonly set?: PromptSet;
  /** After which share of the updates. Default all of them. */
  readonly share?: number;
  /** The column's head. Default: the reward, with the captions where they are not held out. */
  readonly title?: string;
}

/** A reward on the evaluation's captions, after a share of the updates. */
export function rewardAfter(
  reward: string = trainedReward,
  { set = 'heldOut', share = 1, title }: RewardOptions = {},
): Quantity {
  const where = set === 'heldOut' ? '' : ', captions of the training';
  const when = share === 1 ? '' : ` after ${share} of the updates`;
  return {
    name: title ?? `${reward}${where}${when}`,
    digits: 3,
    of: ({ evaluations, of }) =>
      evaluations.find(({ update }) => update === Math.round(share * of))?.scores[reward]?.[set],
  };
}

/** The same at equal cost: where the run has cost `share` of what the baseline cost in all, between two evaluations in proportion. */
export function rewardAtCost(
  cost: 'flops' | 'seconds' | 'calls',
  share: number,
  { reward = trainedReward, set = 'heldOut' }: { readonly reward?: string; readonly set?: PromptSet } = {},
): Quantity {
  const of = { flops: 'FLOPs', seconds: 'seconds', calls: 'network calls' }[cost];
  return {
    name: `${reward} at ${share} of the baseline's ${of}`,
    digits: 3,
    of: (run, baseline) => {
      const budget = share * (baseline.evaluations.at(-1)?.[cost] ?? Number.NaN);
      return interpolate(
        run.evaluations,
        (point) => point[cost],
        budget,
        (point) => point.scores[reward]?.[set],
      );
    },
  };
}

/** Values at a place between points, in proportion; undefined outside them. */
export function interpolate(
  points: readonly EvaluationPoint[],
  place: (point: EvaluationPoint) => number,
  at: number,
  values: (point: EvaluationPoint) => readonly number[] | undefined,
): number[] | undefined {
  const next = points.findIndex((point) => place(point) >= at);
  if (next < 0) return undefined;
  const [before, after] = [points[Math.max(0, next - 1)]!, points[next]!];
  const [from, to] = [place(before), place(after)];
  const weight = to > from ? (at - from) / (to - from) : 1;
  const [low, high] = [values(before), values(after)];
  return low && high?.map((value, i) => (1 - weight) * low[i]! + weight * value);
}

/** Values of a column of metrics.jsonl. */
const columnOf = ({ updates }: RunOutcome, column: string): number[] =>
  updates.flatMap(({ [column]: value }: UpdateRecord) => (value === undefined ? [] : [value]));

/** FLOP of an update in GFLOP: sampling, decoding and training, without the rewards' networks. */
export const flopsOfUpdate: Quantity = {
  name: 'GFLOP an update',
  digits: 1,
  of: ({ updates }) => {
    const total = updates.at(-1)?.['total/flops'];
    return total === undefined ? undefined : [total / updates.length / 1e9];
  },
};

/** How many times fewer FLOPs than the baseline. */
export const flopRatio: Quantity = {
  name: 'FLOPs, times fewer',
  digits: 2,
  of: (run, baseline) => ratioOf(flopsOfUpdate.of(baseline, baseline), flopsOfUpdate.of(run, baseline)),
};

/** Seconds of an update by the clock. */
export const secondsOfUpdate: Quantity = {
  name: 'seconds an update',
  digits: 3,
  of: ({ updates, secondsOfUpdate }) => (updates.length > 0 ? [secondsOfUpdate] : undefined),
};

/** How many times faster an update is than the baseline's, by the clock. */
export const secondsRatio: Quantity = {
  name: 'by the clock, times faster',
  digits: 2,
  of: (run, baseline) => ratioOf(secondsOfUpdate.of(baseline, baseline), secondsOfUpdate.of(run, baseline)),
};

function ratioOf(
  baseline: readonly number[] | undefined,
  own: readonly number[] | undefined,
): readonly number[] | undefined {
  return baseline && own && [baseline[0]! / own[0]!];
}

/** The mean of a column of metrics.jsonl over the updates that have it. */
export const meanOfColumn = (column: string, name: string, digits = 3): Quantity => ({
  name,
  digits,
  of: (run) => {
    const values = columnOf(run, column);
    return values.length > 0 ? [meanOf(values)] : undefined;
  },
});

/** Spearman's rank correlation of previews with final rewards, a mean over the run's probes and the steps of its selections. */
export const rankAgreement: Quantity = {
  name: "previews' rank agreement",
  digits: 2,
  of: ({ updates }) => {
    const values = updates.flatMap((record) =>
      Object.entries(record).flatMap(([name, value]) => (name.startsWith('spearman/') ? [value] : [])),
    );
    return values.length > 0 ? [meanOf(values)] : undefined;
  },
};

/** A quantity of the model as it was before; undefined where that has none, as costs have not. */
export function baseValues(quantity: Quantity, run: RunOutcome): readonly number[] | undefined {
  const before = { ...run, of: 0, updates: [], evaluations: run.evaluations.slice(0, 1) };
  return quantity.of(before, before);
}
