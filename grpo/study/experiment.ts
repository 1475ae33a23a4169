/** What an experiment of the study declares: a table or a figure of the paper as runs, measured columns, curves and claims. */
import type { ConfigChanges } from '../finetune/config/program.js';
import type { RunOutcome } from './outcome.js';
import type { StudyModel } from './recipe.js';

/** What is trained, seed by seed: a recipe (recipe.ts) with some keys changed. */
export interface Method {
  /** Of its runs' folders. Methods of one configuration have one name in every experiment, so that they are run once. */
  readonly name: string;
  /** As tables and legends call it. */
  readonly label: string;
  /** Which recipe. Default flow. */
  readonly model?: StudyModel;
  readonly changes: ConfigChanges;
  /** The first of its seeds. Default 0. */
  readonly firstSeed?: number;
  /** Seeds at most, where the time of the whole demands it. Default: all. */
  readonly seeds?: number;
}

/** A number that is measured on a run. */
export interface Quantity {
  /** As the head of a column, or in a sentence after «in». */
  readonly name: string;
  readonly digits: number;
  /**
   * A value for each prompt of an evaluation, so that runs are compared prompt by prompt, or a single one; undefined where the
   * run lacks it. `baseline` is the run of the experiment's baseline with the same seed.
   */
  readonly of: (run: RunOutcome, baseline: RunOutcome) => readonly number[] | undefined;
}

/** What the paper says, or what follows from it, as a difference between two methods that may be positive, or not. */
export interface Claim {
  /** The sentence that is tested. */
  readonly says: string;
  /** Names of methods: the quantity of the first minus that of the second is looked at. */
  readonly of: string;
  readonly over: string;
  readonly quantity: Quantity;
  /** For «at least as good»: how much less still counts as equal, fixed beforehand. Absent: the claim is «more». */
  readonly margin?: number;
}

/** What a curve's points stand over. */
export type Axis = 'updates' | 'calls' | 'flops' | 'seconds';

/** A chart: a curve for each method, its mean over seeds in the range of the seeds. */
export interface Figure {
  /** Of its file, without the ending. */
  readonly name: string;
  readonly title: string;
  readonly over: Axis;
  /** A held-out reward by evaluation, or a column of metrics.jsonl by update. */
  readonly y:
    | { readonly kind: 'reward'; readonly reward: string }
    | { readonly kind: 'record'; readonly column: string };
  /** Which methods, by their names. Default: all of the experiment. */
  readonly methods?: readonly string[];
}

/** Runs that are compared. */
export interface TrainingExperiment {
  readonly kind: 'training';
  readonly name: string;
  /** What it stands for in the paper: `table 1`. */
  readonly paper: string;
  readonly title: string;
  /** A few sentences that a report begins with. */
  readonly about: string;
  readonly methods: readonly Method[];
  /** The method that ratios and equal budgets go by. */
  readonly baseline: string;
  /** Whether a row shows what the model was before. */
  readonly base?: boolean;
  readonly columns: readonly Quantity[];
  readonly figures: readonly Figure[];
  readonly claims: readonly Claim[];
}

/** A measurement of groups that nobody trains on: how their rewards cluster. */
export interface ClusteringExperiment {
  readonly kind: 'clustering';
  readonly name: string;
  readonly paper: string;
  readonly title: string;
  readonly about: string;
  /** Groups of so many samples, each of another prompt. */
  readonly prompts: number;
  readonly size: number;
  readonly keep: number;
  /** Rewards that are looked at. */
  readonly rewards: readonly string[];
}

export type Experiment = TrainingExperiment | ClusteringExperiment;
