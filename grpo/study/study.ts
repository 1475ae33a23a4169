/** The study: runs what its experiments need and have not got yet, and tells of it as it goes. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { exists, makeFolder, writeWhole } from '../../engine/files.js';
import type { Device } from '../../engine/index.js';
import { listCheckpoints } from '../checkpoint.js';
import { openDevice } from '../finetune/device.js';
import { UsageError } from '../finetune/errors.js';
import { exitCodes } from '../finetune/exit_codes.js';
import { RunFolder } from '../finetune/run/folder.js';
import { livelyInfo, type RunInfo } from '../finetune/run/info.js';
import { holdRun, reserveNamed } from '../finetune/run/reserve.js';
import { startRun } from '../finetune/run/start.js';
import { sessionOn } from '../finetune/session.js';
import { DivergedError } from '../trainer.js';
import { type ClockEvent, storedClock } from './clock.js';
import { normalShares, storedClustering } from './clustering.js';
import type { Experiment } from './experiment.js';
import { experiments, preliminary, quickExperiments } from './experiments/index.js';
import { type PlannedRun, planRuns } from './planned_run.js';
import { evaluationPrompts, usualUpdates } from './recipe.js';
import type { ClusteringFindings } from './report/markdown.js';
import { writeStudy } from './report/write.js';

export interface StudyOptions {
  /** Names of experiments. Default: all but those that only recipes rest on; with `quick` tables 1 and 6. */
  readonly names?: readonly string[];
  /** Experiments of a program's own, instead of names. */
  readonly experiments?: readonly Experiment[];
  /** Seeds from 0 on. Default 6; with `quick` 2. */
  readonly seeds?: number | undefined;
  /** Half the updates and 2 seeds. */
  readonly quick?: boolean | undefined;
  /** Where runs go. Default `runs/study`. */
  readonly out?: string;
  /** Where results and the report go. Default `bench/results/study`; of a part of the study `report` below `out`. */
  readonly results?: string;
  /** Part of an adapter's name. */
  readonly device?: string | undefined;
  /** Ends the run at hand in good order, which is gone on with the next time. */
  readonly signal?: AbortSignal | undefined;
}

/** What the study tells of itself. */
export type StudyEvent =
  /** Runs in all, those still to do, and about how long these take. */
  | { readonly kind: 'planned'; readonly runs: number; readonly left: number; readonly seconds: number }
  /** Where the work stands: the run at hand, and seconds to the end of all. */
  | {
      readonly kind: 'progress';
      readonly run: string;
      readonly index: number;
      readonly of: number;
      readonly update: number;
      readonly updates: number;
      readonly secondsLeft: number;
    }
  | {
      readonly kind: 'ran';
      readonly run: string;
      readonly index: number;
      readonly of: number;
      readonly seconds: number;
      readonly secondsLeft: number;
    }
  | { readonly kind: 'warning'; readonly message: string }
  | ClockEvent
  | { readonly kind: 'reported'; readonly files: readonly string[]; readonly lines: readonly string[] };

type Events<R = void> = AsyncGenerator<StudyEvent, R, undefined>;

/** Does the runs of some experiments that are not done, then measures and reports. Throws what a run ends by. */
export async function* runStudy(options: StudyOptions = {}): Events {
  const { out = 'runs/study', quick = false, signal } = options;
  const isWhole = chosenExperiments({}) === chosenExperiments(options);
  const { results = isWhole ? 'bench/results/study' : join(out, 'report') } = options;
  const chosen = chosenExperiments(options);
  const seeds = options.seeds ?? (quick ? 2 : 6);
  const prompts = join(out, 'captions.jsonl');
  const updates = quick ? usualUpdates / 2 : undefined;
  const planned = await planRuns(chosen, { seeds, prompts, updates });
  const opened: { device?: Promise<Device> } = {};
  const device = (): Promise<Device> => (opened.device ??= openDevice({ device: options.device }));
  try {
    await makeFolder(out);
    const captions = evaluationPrompts().map(({ prompt }) => `${JSON.stringify({ prompt })}\n`);
    await writeWhole(prompts, captions.join(''));
    yield* runAll(device, planned, out, signal);
    const clustering: ClusteringFindings[] = [];
    for (const experiment of chosen)
      if (experiment.kind === 'clustering') {
        const measured = await storedClustering(device, experiment, out, signal);
        clustering.push({ experiment, measured, normal: normalShares(experiment.size, experiment.keep) });
      }
    const clock = yield* storedClock(device, planned, out, signal);
    const trained = chosen.filter((each) => each.kind === 'training');
    yield { kind: 'reported', ...(await writeStudy({ trained, clustering, planned, clock, out, results })) };
  } finally {
    (await opened.device)?.close();
  }
}

/** Does the runs that are not done. The device is opened where there is one. */
async function* runAll(
  device: () => Promise<Device>,
  planned: readonly PlannedRun[],
  out: string,
  signal: AbortSignal | undefined,
): Events {
  const left: PlannedRun[] = [];
  for (const run of planned) if (!(await isDone(join(out, run.folder)))) left.push(run);
  let secondsLeft = left.reduce((sum, { seconds }) => sum + seconds, 0);
  yield { kind: 'planned', runs: planned.length, left: left.length, seconds: secondsLeft };
  const pace = new Pace();
  for (const [i, run] of left.entries()) {
    signal?.throwIfAborted();
    const start = performance.now();
    const index = planned.length - left.length + i;
    const others = secondsLeft - run.seconds;
    const about = { run: run.folder, of: planned.length, updates: run.config.train.updates };
    const at = (update: number): StudyEvent => {
      const own = run.seconds * (1 - update / about.updates);
      return { kind: 'progress', ...about, index, update, secondsLeft: pace.factor * (others + own) };
    };
    try {
      yield* runOne(await device(), run, out, { signal, at });
    } catch (error) {
      if (!(error instanceof DivergedError)) throw error;
      yield { kind: 'warning', message: `${run.folder}: ${error.message}; it is reported as far as it came` };
    }
    const seconds = (performance.now() - start) / 1000;
    pace.took(run.seconds, seconds);
    secondsLeft = others;
    const { run: name, of } = about;
    yield { kind: 'ran', run: name, index: index + 1, of, seconds, secondsLeft: pace.factor * secondsLeft };
  }
}

function chosenExperiments({ names = [], quick = false, ...given }: StudyOptions): readonly Experiment[] {
  if (given.experiments) return given.experiments;
  if (names.length === 0) return quick ? quickExperiments : experiments;
  return names.map((name) => {
    const all = [...experiments, ...preliminary];
    const found = all.find((each) => each.name === name);
    if (found) return found;
    throw new UsageError(`no experiment ${name}; there are ${all.map((each) => each.name).join(', ')}`);
  });
}

/** How the machine's time relates to that of the recipe's. */
class Pace {
  private expected = 0;
  private taken = 0;

  took(expected: number, taken: number): void {
    this.expected += expected;
    this.taken += taken;
  }

  get factor(): number {
    return this.expected > 0 ? this.taken / this.expected : 1;
  }
}

/** Whether a run has ended: at its last update, or because it diverged, which would come again. */
async function isDone(folder: string): Promise<boolean> {
  const info = await infoOf(folder);
  return info?.status === 'done' || info?.exit?.code === exitCodes.diverged;
}

const infoOf = async (folder: string): Promise<RunInfo | undefined> =>
  (await exists(join(folder, 'run.json'))) ? livelyInfo(folder) : undefined;

/** Does a run, or goes on with it from its last checkpoint; where there is none it begins anew. */
async function* runOne(
  device: Device,
  { config, folder }: PlannedRun,
  out: string,
  { signal, at }: { readonly signal: AbortSignal | undefined; readonly at: (update: number) => StudyEvent },
): Events {
  const path = join(out, folder);
  const goesOn = (await listCheckpoints(join(path, 'checkpoints'))).length > 0;
  if (!goesOn && (await exists(join(path, 'run.json')))) {
    const held = await holdRun(path);
    await held.release();
    await rm(path, { recursive: true });
  }
  const held = goesOn ? await holdRun(path) : await reserveNamed(path);
  try {
    const session = await sessionOn(device, config, { signal });
    try {
      const run = goesOn ? await RunFolder.open(path) : path;
      for await (const event of startRun(session, { run, signal })) {
        if (event.kind === 'update' || event.kind === 'started') yield at(event.kind === 'update' ? event.update : 0);
        if (event.kind === 'warning') yield { kind: 'warning', message: `${folder}: ${event.message}` };
      }
    } finally {
      session.close();
    }
  } finally {
    await held.release();
  }
}
