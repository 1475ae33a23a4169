/**
 * A probe: the first group of an update, drawn to its end without pruning beside the training, with previews of every sample
 * at the steps where the run selects. It tells how well previews foretell final rewards (Pro-GRPO, section 4.3, rests on
 * that), and how much of the variance of final rewards the pruning keeps.
 */
import { momentsOf } from './learning/advantage.js';
import type { GenerativeModel, Prompt } from './model.js';
import type { CombinedReward } from './rewards/reward.js';
import { Group, type GroupScores } from './rollout/group.js';
import { Rollout, type RolloutEvents, type ScoredPicture } from './rollout/rollout.js';
import { type Stage, stagesOf } from './rollout/stages.js';
import { Trajectories } from './rollout/trajectories.js';
import { optimalVarianceSubset } from './rollout/variance_filter.js';
import { pathOf } from './sampling/window.js';
import type { TrainerConfig } from './trainer.js';

export interface ProbeReport {
  readonly prompt: Prompt;
  /** The steps before which the run selects. */
  readonly steps: readonly number[];
  /** Rewards of every sample's preview at each of them, and of its final picture; NaN of lost ones. */
  readonly previews: readonly (readonly number[])[];
  readonly finals: readonly number[];
  /** Numbers of the samples that the run keeps of this group: the very ones that it does keep, as noise and weights are its own. */
  readonly kept: readonly number[];
  /** Rank correlation of the previews' rewards at each step with the final ones; NaN where all of either are equal. */
  readonly spearman: readonly number[];
  /** Variance of the kept samples' final rewards over that of the best as many; NaN where all final rewards are equal. */
  readonly varianceKept: number;
}

/** The same group when nobody leaves it: of one size throughout, scored wherever the run selects. */
export function probeStages(stages: readonly Stage[]): Stage[] {
  const { size } = stages[0]!;
  return stages.map(({ from, to, selection }, i): Stage => {
    if (i === stages.length - 1) return { size, from, to, scored: 'finals' };
    return { size, from, to, scored: 'previews', selection: { ...selection!, count: size } };
  });
}

/**
 * Draws the group that the update numbered `update` (0-based) begins with, of its first prompt, by the weights as they are. What
 * it captures is its own and is freed again: the run's trajectories stay as they are, and as noise is a function of numbers,
 * so do its bits.
 */
export async function drawProbe(
  model: GenerativeModel,
  reward: CombinedReward,
  { sampler, grpo, seed }: TrainerConfig,
  {
    prompt,
    update,
    ...events
  }: { readonly prompt: Prompt; readonly update: number } & Omit<RolloutEvents, 'onPictures'>,
): Promise<ProbeReport> {
  const stages = stagesOf({ sampler, grpo });
  const slots = stages[0]!.size;
  const transitions = pathOf(model, { sampler, grpo, seed }, update);
  const store = Trajectories.create(model, { slots, groups: 1, transitions });
  let rollout: Rollout | undefined;
  const pictures = new Map<number, readonly ScoredPicture[]>();
  try {
    rollout = await Rollout.create(model, store, reward, { sampler, grpo, seed, stages: probeStages(stages) });
    store.encode([prompt.prompt]);
    await rollout.sample([prompt], update, { ...events, onPictures: (_, step, shown) => pictures.set(step, shown) });
  } finally {
    rollout?.dispose();
    store.dispose();
  }
  const scored = (step: number): readonly ScoredPicture[] => pictures.get(step)!;
  const steps = [...pictures.keys()].filter((step) => step < sampler.steps);
  const previews = steps.map((step) => scored(step).map((picture) => picture.reward));
  const finals = scored(sampler.steps).map((picture) => picture.reward);
  const group = new Group(prompt, { update, group: 0 }, [...finals.keys()], seed);
  const { kept, survivors } = thin(group, stages, (step, samples) =>
    scoresOf(
      reward,
      samples.map((i) => scored(step)[i]!),
    ),
  );
  return {
    prompt,
    steps,
    previews,
    finals,
    kept,
    spearman: previews.map((rewards) => rankCorrelation(rewards, finals)),
    varianceKept: varianceShare(finals, survivors),
  };
}

/** Who is left of a group when it is thinned by these scores, lost samples that filled it up included; and without them. */
function thin(
  group: Group,
  stages: readonly Stage[],
  scores: (step: number, samples: readonly number[]) => GroupScores,
): { kept: number[]; survivors: number[] } {
  for (const { selection, scored } of stages.slice(0, -1))
    group.select(selection!, scored === 'previews' ? scores(selection!.step, group.alive) : undefined);
  const { selection, to } = stages.at(-1)!;
  const { result } = group.finish(scores(to, group.alive), selection, { sample: 0, reward: 0 });
  const survivors = result.survivors.map(({ sample }) => sample);
  return { survivors, kept: [...survivors, ...result.lost].sort((a, b) => a - b) };
}

/** Scores of some pictures as one group: normalised rewards depend on who else is in it. */
function scoresOf(reward: CombinedReward, pictures: readonly ScoredPicture[]): GroupScores {
  const names = Object.keys(pictures[0]?.parts ?? {});
  const byReward = Object.fromEntries(names.map((name) => [name, pictures.map(({ parts }) => parts[name]!)]));
  const total = reward.combine(byReward, [pictures.length]);
  const isWell = (value: number, i: number): boolean => pictures[i]!.finite && Number.isFinite(value);
  return { rewards: total.map((value, i) => (isWell(value, i) ? value : Number.NaN)), byReward };
}

/** Population variance of some samples' rewards over that of the subset of as many that has the largest; lost ones left out. */
export function varianceShare(rewards: readonly number[], samples: readonly number[]): number {
  const own = samples.map((sample) => rewards[sample]!).filter(Number.isFinite);
  const finite = rewards.filter(Number.isFinite);
  const best = optimalVarianceSubset(finite, own.length).map((place) => finite[place]!);
  const variance = (values: readonly number[]): number => (values.length > 0 ? momentsOf(values).std ** 2 : 0);
  return variance(own) / variance(best);
}

/** Ranks from 1; equal values have the mean of the ranks that they take together. */
function ranksOf(values: readonly number[]): number[] {
  const order = [...values.keys()].sort((a, b) => values[a]! - values[b]!);
  const ranks = Array<number>(values.length).fill(0);
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (const place of order.slice(start, end)) ranks[place] = (start + 1 + end) / 2;
    start = end;
  }
  return ranks;
}

/**
 * Spearman's rank correlation, from -1 to 1, with mean ranks for ties: Pearson's correlation of the ranks. Pairs with a value
 * that is not finite are left out. NaN where all values of a side are equal, or fewer than two pairs are left.
 */
export function rankCorrelation(first: readonly number[], second: readonly number[]): number {
  const pairs = [...first.keys()].filter((i) => Number.isFinite(first[i]) && Number.isFinite(second[i]));
  const [a, b] = [first, second].map((values) => ranksOf(pairs.map((i) => values[i]!)));
  const middle = (pairs.length + 1) / 2;
  const dot = (x: readonly number[], y: readonly number[]): number =>
    x.reduce((sum, rank, i) => sum + (rank - middle) * (y[i]! - middle), 0);
  return dot(a!, b!) / Math.sqrt(dot(a!, a!) * dot(b!, b!));
}
