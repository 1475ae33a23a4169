/** What a run tells of itself while it trains: one stream, from which terminal, files and programs take what they need. */
import type { GridRow } from '../../../models/pictures/grid.js';
import type { RunConfig } from '../../config.js';
import type { Estimate, Evaluation } from '../../evaluate.js';
import type { ProbeReport } from '../../probe.js';
import type { ScoredPicture } from '../../rollout/rollout.js';
import type { Progress } from '../../trainer.js';
import type { UpdateReport } from '../../update_report.js';
import type { WorkersFile } from '../workers/workers_file.js';
import type { RunInfo } from './info.js';
import type { RewardSummary, RunRecord, UpdateRecord } from './metrics.js';

/** What is trained on: names of rewards and their factors in the sum. */
type Weights = Readonly<Record<string, number>>;

/** A model is about to be loaded, which may take a while. */
export interface LoadingEvent {
  readonly kind: 'loading';
  /** As the configuration names it. */
  readonly model: string;
}

/** The run has its folder and is about to draw, or goes on where it stopped. */
export interface StartedEvent {
  readonly kind: 'started';
  /** The run's folder. */
  readonly run: string;
  readonly info: RunInfo;
  readonly config: RunConfig;
  readonly device: {
    readonly description: string;
    /** The adapter is a CPU. */
    readonly software: boolean;
    readonly f16: boolean;
    readonly subgroups: boolean;
  };
  /** [height, width] in pixels. */
  readonly pictureSize: readonly [number, number];
  readonly weights: Weights;
}

/** Where the work stands. Told only to those who ask for it: every step is waited for then. */
export interface ProgressEvent {
  readonly kind: 'progress';
  /** Updates done, and to do in all. */
  readonly update: number;
  readonly of: number;
  /** Samples of a group as it begins, and denoising steps of a trajectory. */
  readonly groupSize: number;
  readonly steps: number;
  readonly at: Progress | { readonly phase: 'drawing' | 'evaluating'; readonly done: number; readonly of: number };
  /** Seconds until the run's end, by the pace of its last updates; undefined before the first is done. */
  readonly secondsLeft: number | undefined;
}

/** An update is done. */
export interface UpdateEvent {
  readonly kind: 'update';
  /** Its number, from 1, and how many there are to be. */
  readonly update: number;
  readonly of: number;
  /** Mean and population deviation of the survivors' final rewards. */
  readonly reward: UpdateReport['reward'];
  /** Of all groups: the rewards that their pictures got first (of their first previews, or final ones), and the survivors' final ones. */
  readonly rewards: { readonly all: readonly number[]; readonly kept: readonly number[] };
  /** Its line of metrics.jsonl: flat, with TRL's names. */
  readonly record: UpdateRecord;
  /** Its lines of groups.jsonl. */
  readonly groups: readonly RunRecord[];
  readonly counts: UpdateReport['counts'];
  /** Seconds at work since the run began, over all resumptions. */
  readonly seconds: number;
}

/** The first group of the update to come was drawn to its end without pruning, beside the training. */
export interface ProbeEvent {
  readonly kind: 'probe';
  /** Updates done when that update is. */
  readonly update: number;
  readonly probe: ProbeReport;
}

/** What a group of the last update looked like when it was thinned, and at its end. Told of one group an update. */
export interface PreviewsEvent {
  readonly kind: 'previews';
  /** Updates done, that of the group among them. */
  readonly update: number;
  /** Number of the group in its update, from 0. */
  readonly group: number;
  readonly prompt: string;
  /** The selections that went by pictures: all that were alive before the step, by their numbers, and who took it. */
  readonly selections: readonly {
    readonly step: number;
    readonly pictures: readonly ScoredPicture[];
    readonly kept: readonly number[];
  }[];
  /** All that were drawn to the end. */
  readonly finals: readonly ScoredPicture[];
}

/** Sample pictures are drawn and written: a grid, or before and after side by side. */
export interface PicturesEvent {
  readonly kind: 'pictures';
  /** Updates done. */
  readonly update: number;
  readonly path: string;
  readonly rows: readonly GridRow[];
}

/** Held-out pictures are scored. */
export interface EvaluationEvent {
  readonly kind: 'evaluation';
  /** Updates done, and to do in all. */
  readonly update: number;
  readonly of: number;
  /** Of the noise. */
  readonly seed: number;
  /** Mean of each reward with its 95 % interval; `reward` is the weighted sum that is trained on, by these weights. */
  readonly rewards: Readonly<Record<string, Estimate>>;
  /** Of each picture. */
  readonly scores: Evaluation;
  readonly weights: Weights;
}

/** A checkpoint is written: what the run goes on from if it ends now. */
export interface CheckpointEvent {
  readonly kind: 'checkpoint';
  readonly update: number;
  readonly path: string;
}

/** Something that a person should know; the run goes on. */
export interface WarningEvent {
  readonly kind: 'warning';
  readonly message: string;
}

/** Who works on the run beside its trainer, told when something of it changes. */
export interface WorkersEvent {
  readonly kind: 'workers';
  /** What workers.json says. */
  readonly file: WorkersFile;
  /** What a person should know of it: who came, who left, who is refused and why, that nobody is there. */
  readonly messages: readonly { readonly text: string; readonly isWarning: boolean }[];
}

/** The run is done. */
export interface DoneEvent {
  readonly kind: 'done';
  readonly run: string;
  readonly updates: number;
  readonly seconds: number;
  /** Every reward on held-out pictures before and after. */
  readonly rewards: Readonly<Record<string, RewardSummary>>;
  /** Deviation of the trained reward within a group as the model drew before the first update; undefined where it is 0. */
  readonly deviation: number | undefined;
  /** The grid before, the one after, and where there is one the picture with both. */
  readonly samples: readonly string[];
  readonly weights: Weights;
  /** Whether an adapter learned, and not the network's own weights. */
  readonly adapter: boolean;
}

/** The run ended before its end. The error is thrown after this event. */
export interface FailedEvent {
  readonly kind: 'failed';
  readonly run: string;
  /** Interrupted: asked to end, by a signal or by the program that runs it. */
  readonly status: 'interrupted' | 'failed';
  readonly error: unknown;
  readonly updates: number;
  readonly seconds: number;
  /** The last checkpoint; undefined where there is none. */
  readonly checkpoint: string | undefined;
}

export type RunEvent =
  | LoadingEvent
  | StartedEvent
  | ProgressEvent
  | UpdateEvent
  | ProbeEvent
  | PreviewsEvent
  | PicturesEvent
  | EvaluationEvent
  | CheckpointEvent
  | WarningEvent
  | WorkersEvent
  | DoneEvent
  | FailedEvent;

/** Takes what it needs of a run's events: a file, a terminal. What it throws ends the run. */
export type Sink = (event: RunEvent) => Promise<void> | void;
