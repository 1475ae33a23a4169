/** The rows that an update trains on, and the optimizer steps they are for: numbers alone, which mean the same on every machine. */
import type { RunConfig } from '../config.js';
import { randomOrder } from '../random.js';
import type { GroupResult } from '../rollout/group.js';
import type { Transition } from '../sampling/transitions.js';
import { windowOf } from '../sampling/window.js';
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

/** A survivor with its rows. */
interface Trajectory {
  readonly rows: readonly Row[];
}

type RowConfig = Pick<RunConfig, 'sampler' | 'grpo' | 'seed'>;

/** A survivor's advantage belongs to it by its place in `advantages`; the numbers of the groups begin with `first`. */
export interface ScoredGroups {
  readonly update: number;
  readonly groups: readonly Pick<GroupResult, 'survivors'>[];
  readonly advantages: readonly (readonly number[])[];
  /** The update's path. */
  readonly transitions: readonly Transition[];
  readonly first?: number;
}

/** The minibatches of an update: all survivors' rows, or of equal shares of the survivors in a random order. */
export function minibatchesOf(config: RowConfig, scored: ScoredGroups): Minibatch[] {
  const { grpo, seed } = config;
  const trajectories = trajectoriesOf(config, scored);
  const count = Math.min(grpo.updates_per_rollout, trajectories.length);
  const minibatch = (chosen: readonly Trajectory[]): Minibatch => {
    const rows = chosen.flatMap((each) => each.rows);
    return {
      rows: learnsFromEveryRow(grpo) ? rows : rows.filter(({ advantage }) => advantage !== 0),
      total: rows.length,
    };
  };
  if (count <= 1) return [minibatch(trajectories)];
  const order = randomOrder(trajectories.length, seed, scored.update, trajectories.length);
  const end = (m: number): number => Math.round((m * trajectories.length) / count);
  return Array.from({ length: count }, (_, m) =>
    minibatch(order.slice(end(m), end(m + 1)).map((i) => trajectories[i]!)),
  );
}

function trajectoriesOf(
  config: RowConfig,
  { update, groups, advantages, transitions, first = 0 }: ScoredGroups,
): Trajectory[] {
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
      return { rows: steps.map((step, k) => ({ group, sample, step, advantage: advantage * weights[k]! })) };
    }),
  );
}
