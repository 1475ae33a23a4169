/** The rows that an update trains on, and the optimizer steps they are for: numbers alone, which mean the same on every machine. */
import type { RunConfig } from '../config.js';
import type { GenerativeModel } from '../model.js';
import { randomOrder } from '../random.js';
import type { GroupResult } from '../rollout/group.js';
import type { Transition } from '../sampling/transitions.js';
import { pathOf, windowOf } from '../sampling/window.js';
import { finalRewards } from '../update_report.js';
import { groupAdvantages } from './advantage.js';
import { isForward, learnsFromEveryRow, trainedRows } from './losses.js';
import { rowWeights } from './row_weights.js';

/** A step of a survivor's trajectory that is trained on, or one of the draws that are made for it. */
export interface Row {
  readonly group: number;
  /** Number of the survivor in its group. */
  readonly sample: number;
  /** Of its path; of a draw its number. */
  readonly step: number;
  readonly advantage: number;
}

/** What one optimizer step learns from. */
export interface Minibatch {
  readonly rows: readonly Row[];
  /** Rows that make the mean: `rows`, and those that teach nothing and are left out. */
  readonly total: number;
}

type RowConfig = Pick<RunConfig, 'sampler' | 'grpo' | 'seed'>;

/** Groups of an update that were drawn and scored, whose numbers begin with `first`. */
export interface ScoredGroups {
  readonly update: number;
  readonly groups: readonly Pick<GroupResult, 'survivors' | 'baseline'>[];
  readonly first?: number;
}

/** What is learned from groups. */
export interface Lesson {
  /** Of the survivors of each group, in their order. */
  readonly advantages: readonly (readonly number[])[];
  /** All survivors' rows, or those of equal shares of the survivors in a random order. */
  readonly minibatches: readonly Minibatch[];
}

/** The advantages of groups' final rewards, and the rows that are trained by them. */
export function lessonOf(model: Pick<GenerativeModel, 'schedule'>, config: RowConfig, scored: ScoredGroups): Lesson {
  const baselines = scored.groups.map(({ baseline }) => baseline);
  const advantages = groupAdvantages(finalRewards(scored.groups), { ...config.grpo, baselines });
  const trajectories = trajectoriesOf(config, scored, advantages, pathOf(model, config, scored.update));
  return { advantages, minibatches: minibatchesOf(config, scored.update, trajectories) };
}

/** Each trajectory is the rows of one survivor. */
function minibatchesOf(
  { grpo, seed }: RowConfig,
  update: number,
  trajectories: readonly (readonly Row[])[],
): Minibatch[] {
  const count = Math.min(grpo.updates_per_rollout, trajectories.length);
  const minibatch = (chosen: readonly (readonly Row[])[]): Minibatch => {
    const rows = chosen.flat();
    return {
      rows: learnsFromEveryRow(grpo) ? rows : rows.filter(({ advantage }) => advantage !== 0),
      total: rows.length,
    };
  };
  if (count <= 1) return [minibatch(trajectories)];
  const order = randomOrder(trajectories.length, seed, update, trajectories.length);
  const end = (m: number): number => Math.round((m * trajectories.length) / count);
  return Array.from({ length: count }, (_, m) =>
    minibatch(order.slice(end(m), end(m + 1)).map((i) => trajectories[i]!)),
  );
}

function trajectoriesOf(
  config: RowConfig,
  { update, groups, first = 0 }: ScoredGroups,
  advantages: Lesson['advantages'],
  transitions: readonly Transition[],
): Row[][] {
  const { grpo, seed } = config;
  const { start } = windowOf(config, update);
  return groups.flatMap(({ survivors }, g) =>
    survivors.map(({ sample }, i) => {
      const group = first + g;
      const steps = trainedRows(config, [seed, update, group, sample], start);
      const weights = isForward(grpo.loss)
        ? steps.map(() => 1) // these are draws, not steps
        : rowWeights(
            grpo,
            steps.map((step) => transitions[step]!),
          );
      const advantage = advantages[g]![i]!;
      return steps.map((step, k) => ({ group, sample, step, advantage: advantage * weights[k]! }));
    }),
  );
}
