/** Runs in their folders: a new one, or one that goes on where it stopped. */
import { rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { writeWhole } from '../../../engine/files.js';
import { CheckpointError, readCheckpoint } from '../../checkpoint.js';
import type { ShardSource } from '../../shards/source.js';
import { Trainer } from '../../trainer.js';
import { initAdapter } from '../adapter.js';
import type { Elsewhere } from '../drawing.js';
import { InterruptedError, preparing, UsageError } from '../errors.js';
import type { Session } from '../session.js';
import { trackersOf } from '../track/trackers.js';
import { Beside } from '../workers/beside.js';
import type { RunEvent, Sink, WorkersEvent } from './events.js';
import { RunFolder } from './folder.js';
import { describeRun, hashConfig } from './info.js';
import type { UpdateRecord } from './metrics.js';
import { type Between, pausing } from './pause.js';
import { infoSink, logSink, recorded, recordsSink, workersSink } from './sinks.js';
import { type TrainingOptions, training } from './training.js';

export interface StartOptions extends TrainingOptions {
  /** The folder of a new run, which is reserved (reserve.ts), or the run that goes on, which is held (lock.ts). */
  readonly run: string | RunFolder;
  /** A file or folder of adapter weights that a new run begins with. */
  readonly initLora?: string | undefined;
  /** Texts of files that a new run keeps beside its configuration, by name. */
  readonly files?: Readonly<Record<string, string>>;
  /** Hear the events besides the run's own files. */
  readonly sinks?: readonly Sink[];
  /** Waited for between two updates. */
  readonly between?: Between | undefined;
  /** Has the groups drawn and differentiated elsewhere. */
  readonly source?: OpenSource | undefined;
}

/** Opens what draws and differentiates in place of this device; `folder` is the run's, `tell` is for what it tells of itself. */
export type OpenSource = (given: {
  readonly session: Session;
  readonly folder: string;
  readonly tell: (event: WorkersEvent) => void;
  readonly signal: AbortSignal | undefined;
}) => Promise<RemoteSource>;

/** Other machines that draw and differentiate; closed after it is disposed of. */
export interface RemoteSource extends ShardSource, Elsewhere {
  close(): Promise<void>;
}

/**
 * Trains in a session and keeps the run's files. Everything is checked before anything is written. A reader who stops reading
 * interrupts the run, which saves first.
 */
export async function* startRun(
  session: Session,
  { run: given, initLora, files = {}, sinks = [], between, source, ...options }: StartOptions,
): AsyncGenerator<RunEvent, void, undefined> {
  const { config, model } = session;
  for (const message of initLora === undefined ? [] : await initAdapter(model, initLora))
    yield { kind: 'warning', message };
  const folder = typeof given === 'string' ? given : given.path;
  const beside = new Beside();
  const tell = (event: WorkersEvent): void => beside.tell(event);
  const open = { session, folder, tell, signal: options.signal };
  const remote = source && (await preparing(() => source(open)));
  let trainer: Trainer | undefined;
  try {
    trainer = await preparing(() =>
      remote
        ? Trainer.over(model, config, () => Promise.resolve(remote))
        : Trainer.create(model, session.rewards, config),
    );
    const warnings = typeof given === 'string' ? [] : await restore(given, trainer, session);
    options.signal?.throwIfAborted();
    const run = typeof given === 'string' ? await createRun(given, session, files) : given;
    const notices: string[] = [];
    const own = [
      recordsSink(run),
      infoSink(run),
      logSink(run),
      workersSink(run),
      ...trackersOf(run, config, trainer.updates, notices),
    ];
    const trained = training(session, trainer, run, { ...options, notices, beside, elsewhere: remote });
    const events = withWarnings(warnings, between ? pausing(trained, session, between) : trained);
    yield* recorded(events, [...own, ...sinks], () => new InterruptedError('SIGINT'));
  } finally {
    trainer?.dispose();
    await remote?.close();
  }
}

async function createRun(path: string, session: Session, files: Readonly<Record<string, string>>): Promise<RunFolder> {
  const run = await RunFolder.create(path, session.config, await describeRun(session));
  for (const [name, text] of Object.entries(files)) await writeWhole(join(path, name), text);
  return run;
}

/** Warnings, then what happens. */
async function* withWarnings(
  warnings: readonly string[],
  events: AsyncGenerator<RunEvent, void, undefined>,
): AsyncGenerator<RunEvent, void, undefined> {
  for (const message of warnings) yield { kind: 'warning', message };
  yield* events;
}

/**
 * Puts the last whole checkpoint into the trainer and takes back what the run recorded after it. Damaged ones that are passed
 * over get other names, so that they count as checkpoints no more; returns what is to be said of them.
 */
async function restore(run: RunFolder, trainer: Trainer, { config }: Session): Promise<readonly string[]> {
  const { path, damaged, warnings } = await run.wholeCheckpoint();
  try {
    await readCheckpoint(path, trainer.state, config);
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    const advice = 'Start a new run with --init-lora, or --resume without changes.';
    throw new CheckpointError(`${error.message}.  ${advice}`, { cause: error });
  }
  const { updates } = trainer;
  if (updates > config.train.updates)
    throw new UsageError(`${path} has ${updates} updates, train.updates is ${config.train.updates}`);
  for (const each of damaged) {
    await rm(`${each}.damaged`, { recursive: true, force: true });
    await rename(each, `${each}.damaged`);
  }
  await run.rewind(updates);
  await run.writeConfig(config);
  const records = await run.read<UpdateRecord>('metrics');
  const sum = (name: string): number => records.reduce((total, record) => total + (record[name] ?? 0), 0);
  const { exit: _, rewards: __, ...info } = run.info;
  await run.replace({
    ...info,
    status: 'running',
    configHash: hashConfig(config),
    process: { pid: process.pid, host: hostname() },
    updates,
    of: config.train.updates,
    totals: { calls: sum('calls'), decodes: sum('decodes'), trained: sum('trained') },
  });
  return warnings;
}
