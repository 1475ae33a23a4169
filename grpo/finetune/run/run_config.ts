/** Training by a configuration: a file, a preset, or that of a run to go on with. */
import { basename, extname, join } from 'node:path';
import { readCheckpointInfo } from '../../checkpoint.js';
import type { RunConfig } from '../../config.js';
import { loadConfig, usualPreset } from '../config/file.js';
import { UsageError } from '../errors.js';
import { openSession } from '../session.js';
import type { RunEvent, Sink } from './events.js';
import { RunFolder } from './folder.js';
import type { Between } from './pause.js';
import { holdRun, reserveDated, reserveNamed } from './reserve.js';
import { type OpenSource, startRun } from './start.js';
import type { TrainingOptions } from './training.js';

export interface RunConfigOptions extends TrainingOptions {
  /** A file, a preset or a run's folder. Default: that of the run to resume, else the usual preset. */
  readonly config?: string | undefined;
  /** Changes of keys, `grpo.keep=[24,16,12]`. */
  readonly set?: readonly string[];
  /** Updates in all: `train.updates`. */
  readonly updates?: number | undefined;
  readonly seed?: number | undefined;
  /** Where runs go. Default `runs`. */
  readonly out?: string;
  /** The run's folder below that. Default: date, configuration and seed. */
  readonly name?: string | undefined;
  /** A run to go on with, by its folder or its name. */
  readonly resume?: string | undefined;
  /** A file or folder of LoRA weights to begin with. */
  readonly initLora?: string | undefined;
  /** Part of an adapter's name. */
  readonly device?: string | undefined;
  /** Hear the events besides the run's own files. */
  readonly sinks?: readonly Sink[];
  /** Waited for between two updates. */
  readonly between?: Between | undefined;
  /** Has the groups drawn and differentiated elsewhere. */
  readonly source?: OpenSource | undefined;
}

/**
 * Trains by a configuration and tells of it. Everything is checked before anything is written. Throws a UsageError for what
 * makes no sense, an InterruptedError where the signal ended it, and whatever the training ends by, after a `failed` event.
 */
export async function* runConfig(options: RunConfigOptions = {}): AsyncGenerator<RunEvent, void, undefined> {
  const { resume, initLora, name, out = 'runs' } = options;
  if (resume !== undefined && (initLora !== undefined || name !== undefined))
    throw new UsageError('--resume goes on with a run as it is: without --init-lora and --name');
  let held = resume === undefined ? undefined : await holdRun(resume); // its configuration is what it is trained by
  try {
    const config = await configOf(options.config ?? held?.path, options);
    held ??= await (name === undefined
      ? reserveDated(out, nameOf(options.config), config.seed)
      : reserveNamed(join(out, name)));
    yield* runIn(held.path, config, options);
  } finally {
    await held?.release();
  }
}

/** Loads what a run works with and trains, in a folder that this process holds. */
async function* runIn(
  folder: string,
  config: RunConfig,
  options: RunConfigOptions,
): AsyncGenerator<RunEvent, void, undefined> {
  yield { kind: 'loading', model: config.model.path };
  const run = options.resume === undefined ? folder : await RunFolder.open(folder);
  const last =
    typeof run === 'string' ? undefined : await readCheckpointInfo((await run.wholeCheckpoint({ parts: [] })).path);
  const session = await openSession(config, { device: options.device, signal: options.signal, kernels: last?.kernels });
  try {
    for (const message of session.warnings) yield { kind: 'warning', message };
    yield* startRun(session, { ...options, run });
  } finally {
    session.close();
  }
}

function configOf(
  source: string | undefined,
  { set = [], updates, seed }: Pick<RunConfigOptions, 'set' | 'updates' | 'seed'>,
): Promise<RunConfig> {
  const more = [
    ...(updates === undefined ? [] : [`train.updates=${updates}`]),
    ...(seed === undefined ? [] : [`seed=${seed}`]),
  ];
  return loadConfig(source, [...set, ...more]);
}

/** What a configuration's runs are called. */
const nameOf = (given: string = usualPreset): string => basename(given, extname(given));
