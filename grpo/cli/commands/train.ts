/** `winnow train`: a new run, or one that goes on where it stopped. */
import { execFile } from 'node:child_process';
import { hostname } from 'node:os';
import { basename, extname, join } from 'node:path';
import { promisify } from 'node:util';
import { version } from '../../../engine/version.js';
import { CheckpointError, readCheckpoint, readCheckpointInfo } from '../../checkpoint.js';
import type { RunConfig } from '../../config.js';
import { initAdapter } from '../../finetune/adapter.js';
import { loadConfig, usualPreset } from '../../finetune/config/file.js';
import { preparing, UsageError } from '../../finetune/errors.js';
import { hashConfig, isBusy, newRunFolder, RunDirectory, type RunInfo } from '../../finetune/run/folder.js';
import type { UpdateRecord } from '../../finetune/run/metrics.js';
import { TrainingRun } from '../../finetune/run/training.js';
import { openSession, type Session } from '../../finetune/session.js';
import { Trainer } from '../../trainer.js';
import { catchInterrupts, Reporter, type ReporterOptions } from '../reporter.js';

export interface TrainOptions extends ReporterOptions {
  /** `key=value`. */
  readonly set?: readonly string[];
  /** Updates in all. */
  readonly steps?: number;
  readonly seed?: number;
  /** Where runs go. */
  readonly out: string;
  /** The run's folder below that, instead of one with the date. */
  readonly name?: string;
  /** A run to go on with, by its folder or its name. */
  readonly resume?: string;
  /** A file or folder of LoRA weights to begin with. */
  readonly initLora?: string;
  readonly device?: string;
}

/**
 * Trains by a configuration: a file, a preset, or that of the run to resume. Everything is checked before anything is written.
 * Throws an InterruptedError when a signal ended it, after a checkpoint.
 */
export async function train(given: string | undefined, options: TrainOptions): Promise<void> {
  const { resume, initLora, name, out, device } = options;
  if (resume !== undefined && (initLora !== undefined || name !== undefined))
    throw new UsageError('--resume goes on with a run as it is: without --init-lora and --name');
  const reporter = new Reporter(options);
  const resumed = resume === undefined ? undefined : await RunDirectory.open(resume);
  if (resumed && isBusy(resumed.info))
    throw new UsageError(`${resumed.folder}: process ${resumed.info.process.pid} is training this run`);
  const config = await configOf(given ?? resumed?.folder, options);
  const folder =
    resumed?.folder ?? (name === undefined ? await newRunFolder(out, nameOf(given), config.seed) : join(out, name));
  if (!resumed) await RunDirectory.checkFree(folder);
  const interruption = catchInterrupts(() =>
    reporter.hint('ending after the group at hand and saving; press Ctrl-C again to end at once'),
  );
  try {
    reporter.progress(`loading ${config.model.path}`);
    const kernels = resumed && (await readCheckpointInfo(await resumed.findCheckpoint())).kernels;
    const session = await openSession(config, { device, kernels, warn: (line) => reporter.warn(line) });
    try {
      if (initLora !== undefined) await initAdapter(session.model, initLora);
      const trainer = await preparing(() => Trainer.create(session.model, session.rewards, config));
      if (resumed) await restore(resumed, trainer, session);
      interruption.signal.throwIfAborted();
      const run = resumed ?? (await RunDirectory.create(folder, config, await describeRun(session)));
      await new TrainingRun(session, trainer, run, reporter, interruption.signal).train();
    } finally {
      session.close();
    }
  } finally {
    reporter.clear();
    interruption.release();
  }
}

function configOf(source: string | undefined, { set = [], steps, seed }: TrainOptions): Promise<RunConfig> {
  const more = [
    ...(steps === undefined ? [] : [`train.updates=${steps}`]),
    ...(seed === undefined ? [] : [`seed=${seed}`]),
  ];
  return loadConfig(source, [...set, ...more]);
}

/** What a configuration's runs are called. */
const nameOf = (given: string = usualPreset): string => basename(given, extname(given));

/** Puts the last checkpoint into the trainer and takes back what the run recorded after it. */
async function restore(run: RunDirectory, trainer: Trainer, { config }: Session): Promise<void> {
  const path = await run.findCheckpoint();
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
  await run.rewind(updates);
  await run.writeConfig(config);
  const records = (await run.read('metrics')) as UpdateRecord[]; // as the run wrote them
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
}

async function describeRun({ config, device, model }: Session): Promise<RunInfo> {
  const now = new Date().toISOString();
  const git = await promisify(execFile)('git', ['rev-parse', 'HEAD']).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
  const count = (tensors: Iterable<{ readonly size: number }>): number =>
    [...tensors].reduce((sum, { size }) => sum + size, 0);
  return {
    format: 1,
    status: 'running',
    versions: { winnow: version, node: process.versions.node },
    platform: `${process.platform} ${process.arch}`,
    adapter: device.info.description,
    ...(git && { git }),
    configHash: hashConfig(config),
    model: {
      path: model.folder,
      kind: model.pipeline.kind,
      parameters: count(model.pipeline.parameters.all.map(({ tensor }) => tensor)),
      trainable: count(model.trainable.values()),
    },
    process: { pid: process.pid, host: hostname() },
    started: now,
    changed: now,
    updates: 0,
    of: config.train.updates,
    seconds: 0,
    totals: { calls: 0, decodes: 0, trained: 0 },
  };
}
