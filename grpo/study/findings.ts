/** What an experiment has found: its table, its claims with verdicts, its curves; pure, from what its runs have measured. */
import { type Estimate, estimateMean } from '../evaluate.js';
import type { Axis, Claim, Figure, TrainingExperiment } from './experiment.js';
import type { EvaluationPoint, RunOutcome } from './outcome.js';
import { baseValues } from './quantities.js';
import { type Measured, meanOf, pairedDifference, type Verdict, verdictOf } from './statistics.js';

/** A cell of a table: a mean over seeds with its interval; undefined where nothing was measured. */
export type Cell = Estimate | undefined;

export interface Row {
  readonly label: string;
  readonly seeds: number;
  readonly cells: readonly Cell[];
}

export interface TestedClaim {
  readonly claim: Claim;
  /** Undefined where runs lack what is compared. */
  readonly difference: Estimate | undefined;
  readonly verdict: Verdict | 'not measured';
}

/** A curve of a figure: its mean over seeds, in the range of the seeds. */
export interface Curve {
  readonly label: string;
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly low: readonly number[];
  readonly high: readonly number[];
}

export interface Findings {
  readonly experiment: TrainingExperiment;
  readonly rows: readonly Row[];
  readonly claims: readonly TestedClaim[];
  readonly figures: readonly { readonly figure: Figure; readonly curves: readonly Curve[] }[];
}

/** The runs of an experiment, by method; each method's in the order of its seeds. */
type Runs = ReadonlyMap<string, readonly RunOutcome[]>;

/** What the finished runs of an experiment say. Runs of other methods are passed over. */
export function findingsOf(experiment: TrainingExperiment, outcomes: readonly RunOutcome[]): Findings {
  const runs: Runs = new Map(
    experiment.methods.map(({ name, firstSeed = 0 }) => [
      name,
      outcomes.filter((run) => run.name === name && run.seed >= firstSeed).sort((a, b) => a.seed - b.seed),
    ]),
  );
  return {
    experiment,
    rows: rowsOf(experiment, runs),
    claims: experiment.claims.map((claim) => testClaim(claim, runs, experiment.baseline)),
    figures: experiment.figures.map((figure) => ({
      figure,
      curves: experiment.methods
        .filter(({ name }) => figure.methods?.includes(name) ?? true)
        .flatMap(({ name, label }) => curveOf(label, figure, runs.get(name)!)),
    })),
  };
}

const baselineOf = (runs: Runs, baseline: string, seed: number): RunOutcome | undefined =>
  runs.get(baseline)?.find((run) => run.seed === seed);

function rowsOf({ methods, columns, baseline, base }: TrainingExperiment, runs: Runs): Row[] {
  const cell = (values: readonly (readonly number[] | undefined)[]): Cell => {
    const known = values.flatMap((each) => (each === undefined ? [] : [meanOf(each)]));
    return known.length > 0 ? estimateMean(known) : undefined;
  };
  const rows = methods.map(({ name, label }): Row => {
    const own = runs.get(name)!;
    const cells = columns.map((column) =>
      cell(
        own.map((run) => {
          const other = baselineOf(runs, baseline, run.seed);
          return other && column.of(run, other);
        }),
      ),
    );
    return { label, seeds: own.length, cells };
  });
  const first = runs.get(baseline)?.[0];
  if (!base || !first) return rows;
  // The model before is the same whatever the seed.
  const cells = columns.map((column) => cell([baseValues(column, first)]));
  return [{ label: 'before', seeds: 1, cells }, ...rows];
}

/** Compares two methods on the seeds that both have. */
function testClaim(claim: Claim, runs: Runs, baseline: string): TestedClaim {
  const { of, over, quantity, margin } = claim;
  const pairs = (runs.get(of) ?? []).flatMap((run): (readonly [readonly number[], readonly number[]])[] => {
    const other = runs.get(over)?.find(({ seed }) => seed === run.seed);
    const reference = baselineOf(runs, baseline, run.seed);
    if (!other || !reference) return [];
    const [a, b] = [quantity.of(run, reference), quantity.of(other, reference)];
    return a && b ? [[a, b]] : [];
  });
  if (pairs.length === 0) return { claim, difference: undefined, verdict: 'not measured' };
  const [a, b] = [0, 1].map((side): Measured => pairs.map((pair) => pair[side as 0 | 1]));
  const difference = pairedDifference(a!, b!);
  return { claim, difference, verdict: verdictOf(difference, margin) };
}

/** A method's curve; none where it has no runs. Points are those that all of its runs have. */
function curveOf(label: string, figure: Figure, runs: readonly RunOutcome[]): Curve[] {
  const series = runs.map((run) => pointsOf(run, figure)).filter((points) => points.length > 0);
  if (series.length === 0) return [];
  const count = Math.min(...series.map(({ length }) => length));
  const column = (i: number, axis: 0 | 1): number[] => series.map((points) => points[i]![axis]);
  const places = Array.from({ length: count }, (_, i) => i);
  return [
    {
      label,
      x: places.map((i) => meanOf(column(i, 0))),
      y: places.map((i) => meanOf(column(i, 1))),
      low: places.map((i) => Math.min(...column(i, 1))),
      high: places.map((i) => Math.max(...column(i, 1))),
    },
  ];
}

type Point = readonly [x: number, y: number];

function pointsOf(run: RunOutcome, { y, over }: Figure): Point[] {
  if (y.kind === 'reward')
    return run.evaluations.flatMap((point): Point[] => {
      const values = point.scores[y.reward]?.heldOut;
      return values ? [[placeOf(point, over), meanOf(values)]] : [];
    });
  return run.updates.flatMap((record): Point[] => {
    const seconds = record.update * run.secondsOfUpdate;
    const costs = { calls: record['total/calls'] ?? 0, flops: record['total/flops'] ?? 0, seconds };
    const value = record[y.column];
    return value === undefined ? [] : [[placeOf({ update: record.update, ...costs }, over), value]];
  });
}

/** Where a point stands on an axis; FLOPs in GFLOP. */
function placeOf(point: Pick<EvaluationPoint, 'update' | 'calls' | 'flops' | 'seconds'>, over: Axis): number {
  switch (over) {
    case 'updates':
      return point.update;
    case 'flops':
      return point.flops / 1e9;
    default:
      return point[over];
  }
}

/** What stands below an axis. */
export const axisNames: Readonly<Record<Axis, string>> = {
  updates: 'updates',
  calls: 'network calls of sampling',
  flops: 'GFLOP',
  seconds: 'seconds of updates',
};
