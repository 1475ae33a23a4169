/**
 * The folder of a run:
 *
 *   run.json            status, versions, adapter, totals, why it ended; rewritten whole
 *   config.yaml         the configuration, every default written out
 *   metrics.jsonl       an object an update
 *   groups.jsonl        an object a group
 *   evaluations.jsonl   an object an evaluation on held-out prompts
 *   log.txt             what the terminal showed
 *   samples/000000.png  grids of pictures, and before_after.png
 *   checkpoints/000020  what resuming needs
 */

import { createHash } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { appendFile, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { FileError } from '../../../engine/errors.js';
import { exists, refused, writeWhole, writing } from '../../../engine/files.js';
import type { PipelineKind } from '../../../models/pipeline/kinds.js';
import { checkpointName, listCheckpoints } from '../../checkpoint.js';
import type { RunConfig } from '../../config.js';
import { formatConfig } from '../config/file.js';
import { UsageError } from '../errors.js';

/** A reward on held-out prompts before and after, for lists of runs. */
export interface RewardSummary {
  readonly before: number;
  readonly after: number;
  /** The 95 % interval of the difference. */
  readonly low: number;
  readonly high: number;
  /** Pictures. */
  readonly n: number;
}

/** run.json. */
export interface RunInfo {
  readonly format: 1;
  readonly status: 'running' | 'done' | 'interrupted' | 'failed';
  readonly versions: { readonly winnow: string; readonly node: string };
  readonly platform: string;
  /** The GPU's, with its driver. */
  readonly adapter: string;
  /** The commit of the working directory, where that is a repository. */
  readonly git?: string;
  /** Of config.yaml. */
  readonly configHash: string;
  readonly model: {
    readonly path: string;
    readonly kind: PipelineKind;
    readonly parameters: number;
    readonly trainable: number;
  };
  readonly process: { readonly pid: number; readonly host: string };
  /** ISO 8601. */
  readonly started: string;
  readonly changed: string;
  /** Updates done, and to do in all. */
  readonly updates: number;
  readonly of: number;
  /** Seconds at work, over all resumptions. */
  readonly seconds: number;
  /** Network calls of sampling, pictures decoded, steps of trajectories trained. */
  readonly totals: { readonly calls: number; readonly decodes: number; readonly trained: number };
  /** `reward` is the weighted sum that is trained on. */
  readonly rewards?: Readonly<Record<string, RewardSummary>>;
  readonly exit?: { readonly code: number; readonly reason: string };
}

type Records = 'metrics' | 'groups' | 'evaluations';

/** A record of a .jsonl file: `update` is the number of updates done when it was written. */
export interface RunRecord {
  readonly update: number;
}

export const hashConfig = (config: RunConfig): string =>
  createHash('sha256').update(formatConfig(config)).digest('hex').slice(0, 16);

export class RunDirectory {
  private constructor(
    readonly folder: string,
    private current: RunInfo,
  ) {}

  /** Makes the folder of a new run. Throws a UsageError where it exists. */
  static async create(folder: string, config: RunConfig, info: RunInfo): Promise<RunDirectory> {
    await RunDirectory.checkFree(folder);
    return writing(folder, async () => {
      await mkdir(join(folder, 'checkpoints'), { recursive: true });
      await mkdir(join(folder, 'samples'));
      const run = new RunDirectory(folder, info);
      await run.writeConfig(config);
      await run.change({});
      return run;
    });
  }

  /** Throws a UsageError where a new run can't have this folder. */
  static async checkFree(folder: string): Promise<void> {
    if (await exists(folder)) throw new UsageError(`${folder} exists; choose another --name, or go on with --resume`);
  }

  /** Opens a run by its folder, or by its name below `runs`. Throws a FileError where there is none. */
  static async open(given: string): Promise<RunDirectory> {
    const folder = await findRun(given);
    if (folder === undefined) throw new FileError(`${given}: no run: expected a folder with run.json`);
    return new RunDirectory(folder, await readInfo(folder));
  }

  get info(): RunInfo {
    return this.current;
  }

  get checkpoints(): string {
    return join(this.folder, 'checkpoints');
  }

  /** The folder of the checkpoint after `update` updates. */
  checkpoint(update: number): string {
    return join(this.checkpoints, checkpointName(update));
  }

  /** The grid of pictures drawn after `update` updates. */
  sample(update: number): string {
    return join(this.folder, 'samples', `${checkpointName(update)}.png`);
  }

  /** The pictures of the first grid beside those of the last. */
  get beforeAfter(): string {
    return join(this.folder, 'samples', 'before_after.png');
  }

  /** The checkpoint after `step` updates, or the last. Throws a FileError where there is none. */
  async findCheckpoint(step?: number): Promise<string> {
    const all = await listCheckpoints(this.checkpoints);
    const found = step === undefined ? all.at(-1) : all.find((path) => path === this.checkpoint(step));
    if (found) return found;
    const there = all.map((path) => Number(path.slice(-6))).join(', ');
    const wanted = step === undefined ? 'a checkpoint' : `one after ${step} updates`;
    throw new FileError(`${this.checkpoints}: expected ${wanted}, found ${there || 'none'}`);
  }

  /** Rewrites run.json with some values changed. */
  change(changes: Partial<RunInfo>): Promise<void> {
    return this.replace({ ...this.current, ...changes });
  }

  /** Rewrites run.json. */
  async replace(info: RunInfo): Promise<void> {
    this.current = { ...info, changed: new Date().toISOString() };
    await writeWhole(join(this.folder, 'run.json'), `${JSON.stringify(this.current, null, 2)}\n`);
  }

  async writeConfig(config: RunConfig): Promise<void> {
    await writeWhole(join(this.folder, 'config.yaml'), formatConfig(config));
  }

  /** Adds records to a file, in one write. */
  async append(records: Records, objects: readonly RunRecord[]): Promise<void> {
    const path = join(this.folder, `${records}.jsonl`);
    await writing(path, () => appendFile(path, formatRecords(objects)));
  }

  log(line: string): void {
    const path = join(this.folder, 'log.txt');
    try {
      appendFileSync(path, `${line}\n`);
    } catch (error) {
      throw refused(path, error);
    }
  }

  /** The records of a file; a last line that an interrupted write left is passed over. */
  async read(records: Records): Promise<RunRecord[]> {
    const text = await readFile(join(this.folder, `${records}.jsonl`), 'utf8').catch(() => '');
    return text.split('\n').flatMap((line): RunRecord[] => {
      try {
        return [JSON.parse(line)];
      } catch {
        return [];
      }
    });
  }

  /** Drops the records of updates after the given one, which are about to be done again. */
  async rewind(update: number): Promise<void> {
    for (const records of ['metrics', 'groups', 'evaluations'] as const) {
      const kept = (await this.read(records)).filter((each) => each.update <= update);
      const path = join(this.folder, `${records}.jsonl`);
      if (await exists(path)) await writeWhole(path, formatRecords(kept));
    }
    for (const name of await readdir(join(this.folder, 'samples')).catch(() => []))
      if (Number.parseInt(name, 10) > update) await rm(join(this.folder, 'samples', name));
  }
}

const formatRecords = (records: readonly RunRecord[]): string =>
  records.map((each) => `${JSON.stringify(each)}\n`).join('');

/** The folder of the run that a command line names: itself, or below `runs`; undefined where it is none. */
export async function findRun(given: string): Promise<string | undefined> {
  for (const folder of [given, join('runs', given)]) if (await exists(join(folder, 'run.json'))) return folder;
  return undefined;
}

async function readInfo(folder: string): Promise<RunInfo> {
  const path = join(folder, 'run.json');
  try {
    const info = JSON.parse(await readFile(path, 'utf8')) as RunInfo;
    if (info.format !== 1) throw new Error(`format ${info.format}, expected 1`);
    return info;
  } catch (error) {
    throw new FileError(`${path}: not a run: ${(error as Error).message}`, { cause: error });
  }
}

/** The runs below a folder, oldest first; one that is marked as running but whose process has ended is given as failed. */
export async function listRuns(out: string): Promise<{ folder: string; info: RunInfo }[]> {
  const names = await readdir(out).catch(() => []);
  const found = [];
  for (const name of names) {
    const folder = join(out, name);
    if (await exists(join(folder, 'run.json'))) found.push({ folder, info: livelyInfo(await readInfo(folder)) });
  }
  return found.sort((a, b) => a.info.started.localeCompare(b.info.started));
}

function livelyInfo(info: RunInfo): RunInfo {
  const { pid, host } = info.process;
  if (info.status !== 'running' || host !== hostname() || isAlive(pid)) return info;
  return { ...info, status: 'failed', exit: { code: 137, reason: 'its process has ended without a word' } };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0); // sends nothing
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Whether another process is at work on the run. */
export const isBusy = ({ status, process: { pid, host } }: RunInfo): boolean =>
  status === 'running' && host === hostname() && pid !== process.pid && isAlive(pid);

/** A new run's folder below `out`: `2026-11-23_10-15_scenes-flow_s42`, with a number behind it where that is taken. */
export async function newRunFolder(out: string, name: string, seed: number, now = new Date()): Promise<string> {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  const folder = join(out, `${day}_${two(now.getHours())}-${two(now.getMinutes())}_${name}_s${seed}`);
  for (let i = 1; ; i++) {
    const candidate = i === 1 ? folder : `${folder}_${i}`;
    if (!(await exists(candidate))) return candidate;
  }
}
