/** What a run writes of its updates and evaluations: flat objects, with TRL's names where it has one. */
import { type Estimate, type Evaluation, estimateDifference, estimateMean } from '../../evaluate.js';
import type { ProbeReport } from '../../probe.js';
import type { OptimizerReport, UpdateReport } from '../../update_report.js';

/** A reward on held-out prompts before and after, for lists of runs. */
export interface RewardSummary {
  readonly before: number;
  readonly after: number;
  /** The 95 % interval of the difference. */
  readonly low: number;
  readonly high: number;
  /** Pictures. */
  readonly n: number;
}

/** A record of a .jsonl file: `update` is the number of updates done when it was written. */
export interface RunRecord {
  readonly update: number;
}

export interface UpdateRecord extends RunRecord {
  readonly [name: string]: number;
}

/** What a run has cost so far: network calls of sampling, and FLOP where they are known from its first update on. */
export interface RunTotals {
  readonly calls: number;
  readonly flops?: number;
}

/** The totals after an update; nothing is known of the FLOP where an update's are 0. */
export const addTotals = ({ calls, flops }: RunTotals, { counts, flops: own }: UpdateReport): RunTotals => ({
  calls: calls + counts.calls,
  ...(flops !== undefined && own > 0 && { flops: flops + own }),
});

/** The totals that the last of a run's records has; a run whose records are older than totals has but its calls. */
export function totalsOf(records: readonly UpdateRecord[]): RunTotals {
  const last = records.at(-1);
  if (!last) return { calls: 0, flops: 0 };
  const [calls, flops] = [last['total/calls'], last['total/flops']];
  return {
    calls: calls ?? records.reduce((sum, record) => sum + (record.calls ?? 0), 0),
    ...(flops !== undefined && { flops }),
  };
}

export interface UpdateFacts {
  /** The update's wall clock. */
  readonly seconds: number;
  readonly lr: number;
  /** With the update. */
  readonly totals: RunTotals;
  /** Of the update's first group, where there was one. */
  readonly probe?: ProbeReport | undefined;
}

/** One line of metrics.jsonl. Averages over optimizer steps are by their rows. */
export function updateRecord(
  { update, reward, byReward, all, kept, zeroSpread, steps, counts, seconds: phases }: UpdateReport,
  { seconds, lr, totals, probe }: UpdateFacts,
): UpdateRecord {
  const rows = steps.reduce((sum, step) => sum + step.rows, 0);
  const mean = (value: (step: OptimizerReport) => number): number =>
    steps.reduce((sum, step) => sum + value(step) * (rows > 0 ? step.rows / rows : 1 / steps.length), 0);
  // What a loss does not have, such as ratios, no record has.
  type Measure = (step: OptimizerReport) => number | undefined;
  const has = (value: Measure): boolean => steps.some((step) => value(step) !== undefined);
  const averaged = (name: string, value: Measure) => has(value) && { [name]: mean((step) => value(step)!) };
  const largest = (name: string, value: Measure) =>
    has(value) && { [name]: Math.max(0, ...steps.map((step) => value(step)!)) };
  return {
    update: update + 1,
    reward: reward.mean,
    reward_std: reward.std,
    ...Object.fromEntries(Object.entries(byReward).map(([name, value]) => [`rewards/${name}/mean`, value])),
    'spread/all': all.std,
    'spread/kept': kept.std,
    frac_reward_zero_std: zeroSpread,
    policy_loss: mean(({ policyLoss }) => policyLoss),
    kl: mean(({ kl }) => kl),
    ...averaged('approx_kl', ({ approxKL }) => approxKL),
    ...averaged('clip_ratio/region_mean', ({ clipFraction }) => clipFraction),
    ...averaged('clip_ratio/high_mean', ({ clipFractionHigh }) => clipFractionHigh),
    ...averaged('clip_ratio/low_mean', ({ clipFractionLow }) => clipFractionLow),
    ...averaged('ratio/mean', ({ ratioMean }) => ratioMean),
    ...largest('ratio/max_deviation', ({ ratioDeviation }) => ratioDeviation),
    ...largest('prediction/max_deviation', ({ predictionDeviation }) => predictionDeviation),
    grad_norm: mean(({ gradNorm }) => gradNorm),
    learning_rate: lr,
    calls: counts.calls,
    decodes: counts.decodes,
    survivors: counts.survivors,
    trained: counts.trained,
    'total/calls': totals.calls,
    ...(totals.flops !== undefined && { 'total/flops': totals.flops }),
    ...(probe && probeValues(probe)),
    seconds,
    'seconds/sample': phases.sample,
    'seconds/reward': phases.reward,
    'seconds/train': phases.train,
  };
}

/** What a probe measured, where it is a number. */
function probeValues({ steps, spearman, varianceKept }: ProbeReport): Record<string, number> {
  const values = [...steps.map((step, i) => [`spearman/step_${step}`, spearman[i]!]), ['variance_kept', varianceKept]];
  return Object.fromEntries(values.filter(([, value]) => Number.isFinite(value)));
}

/** One line of probes.jsonl; numbers that are not finite are null there. */
export const probeRecord = (update: number, probe: ProbeReport) => ({
  update,
  prompt: probe.prompt.prompt,
  steps: probe.steps,
  previews: probe.previews,
  finals: probe.finals,
  kept: probe.kept,
  spearman: probe.spearman,
  variance_kept: probe.varianceKept,
});

/**
 * The lines of groups.jsonl: what each selection saw and kept, by the samples' numbers in the group, and final rewards. Lost
 * samples stand among the survivors, with no reward and an advantage of 0. `versions` are those of the rewards that gave them.
 */
export const groupRecords = (
  { update, groups, advantages }: UpdateReport,
  versions: Readonly<Record<string, string>> = {},
): RunRecord[] =>
  groups.map(({ prompt, selections, survivors, lost, finals, byReward, calls, decodes }, g) => {
    const ends = [
      ...survivors.map(({ sample, reward }, i) => ({ sample, reward, advantage: advantages[g]![i]! })),
      ...lost.map((sample) => ({ sample, reward: Number.NaN, advantage: 0 })),
    ].sort((a, b) => a.sample - b.sample);
    return {
      update: update + 1,
      group: g,
      ...prompt.meta,
      prompt: prompt.prompt,
      selections: selections.map(({ step, samples, rewards, kept }) => ({ step, samples, rewards, kept })),
      survivors: ends.map(({ sample }) => sample),
      rewards: ends.map(({ reward }) => reward),
      advantages: ends.map(({ advantage }) => advantage),
      finals,
      parts: byReward,
      ...(Object.keys(versions).length > 0 && { versions }),
      calls,
      decodes,
    };
  });

/** One line of evaluations.jsonl. */
export interface EvaluationRecord extends RunRecord {
  readonly seed: number;
  readonly rewards: Readonly<Record<string, Estimate>>;
  /** Of each picture, in the order of the jobs. */
  readonly scores: Evaluation;
}

/** Scores of an evaluation with their weighted sum in front, as `reward`. `weights` are those that are trained on. */
export function withTotal(scores: Evaluation, weights: Readonly<Record<string, number>>): Evaluation {
  const trained = Object.entries(weights).filter(([, weight]) => weight !== 0);
  const count = Object.values(scores)[0]?.length ?? 0;
  const total = Array.from({ length: count }, (_, i) =>
    trained.reduce((sum, [name, weight]) => sum + weight * scores[name]![i]!, 0),
  );
  return { [totalName]: total, ...scores };
}

/** What the weighted sum of the rewards is called. */
export const totalName = 'reward';

export const evaluationRecord = (update: number, seed: number, scores: Evaluation): EvaluationRecord => ({
  update,
  seed,
  rewards: Object.fromEntries(Object.entries(scores).map(([name, values]) => [name, estimateMean(values)])),
  scores,
});

/** Each reward before and after, on pictures of the same prompts and noise. */
export const compareEvaluations = (before: Evaluation, after: Evaluation): Record<string, RewardSummary> =>
  Object.fromEntries(
    Object.entries(after).flatMap(([name, values]) => {
      const base = before[name];
      if (base?.length !== values.length) return [];
      const { low, high, count } = estimateDifference(base, values);
      return [[name, { before: estimateMean(base).mean, after: estimateMean(values).mean, low, high, n: count }]];
    }),
  );
