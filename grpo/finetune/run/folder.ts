/**
 * The folder of a run:
 *
 *   run.json            status, versions, adapter, totals, why it ended; rewritten whole
 *   config.yaml         the configuration, every default written out
 *   metrics.jsonl       an object an update
 *   groups.jsonl        an object a group
 *   evaluations.jsonl   an object an evaluation on held-out prompts
 *   probes.jsonl        an object a group that was drawn without pruning
 *   workers.json        the machines that draw and differentiate, where there are some
 *   log.txt             what a terminal shows of it
 *   lock                who trains it (lock.ts), while somebody does
 *   samples/000000.png  grids of pictures, and before_after.png
 *   previews/000001_0.json  what a group looked like at its selections, with its pictures beside it
 *   checkpoints/000020  what resuming needs
 */
import { appendFileSync } from 'node:fs';
import { access, appendFile, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { FileError } from '../../../engine/errors.js';
import { exists, makeFolder, refused, replaceFile, writeWhole, writing } from '../../../engine/files.js';
import { CheckpointError, type CheckpointPart, checkpointName, damageOf, listCheckpoints } from '../../checkpoint.js';
import type { RunConfig } from '../../config.js';
import { formatConfig } from '../config/format.js';
import { type RunInfo, readInfo } from './info.js';
import { findRun } from './list.js';
import type { RunRecord } from './metrics.js';

export interface WantedCheckpoint {
  readonly step?: number | undefined;
  readonly parts?: readonly CheckpointPart[];
}

/** A checkpoint whose files are whole. */
export interface FoundCheckpoint {
  readonly path: string;
  /** Later ones that are damaged, and a sentence on each. */
  readonly damaged: readonly string[];
  readonly warnings: readonly string[];
}

const infoFile = 'run.json';

const textOf = (info: RunInfo): string => `${JSON.stringify(info, null, 2)}\n`;

const recordFiles = ['metrics', 'groups', 'evaluations', 'probes'] as const;
type Records = (typeof recordFiles)[number];

export class RunFolder {
  private constructor(
    /** Its path. */
    readonly path: string,
    private current: RunInfo,
  ) {}

  /** Makes what stands in the folder of a new run, which is reserved for it (reserve.ts). */
  static async create(path: string, config: RunConfig, info: RunInfo): Promise<RunFolder> {
    return writing(path, async () => {
      await makeFolder(join(path, 'checkpoints'));
      await makeFolder(join(path, 'samples'));
      const run = new RunFolder(path, info);
      await run.writeConfig(config);
      await writeWhole(join(path, infoFile), textOf(info));
      return run;
    });
  }

  /** Opens a run by its folder, or by its name below `runs`. Throws a FileError where there is none. */
  static async open(given: string): Promise<RunFolder> {
    const path = await findRun(given);
    if (path === undefined) throw new FileError(`${given}: no run: expected a folder with run.json`);
    return new RunFolder(path, await readInfo(path));
  }

  get info(): RunInfo {
    return this.current;
  }

  get checkpoints(): string {
    return join(this.path, 'checkpoints');
  }

  /** The folder of the checkpoint after `update` updates. */
  checkpoint(update: number): string {
    return join(this.checkpoints, checkpointName(update));
  }

  /** The grid of pictures drawn after `update` updates. */
  sample(update: number): string {
    return join(this.path, 'samples', `${checkpointName(update)}.png`);
  }

  /** The pictures of the first grid beside those of the last. */
  get beforeAfter(): string {
    return join(this.path, 'samples', 'before_after.png');
  }

  /** Where groups' previews go. */
  get previews(): string {
    return join(this.path, 'previews');
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

  /**
   * The checkpoint after `step` updates, or the last whose files are whole: what is wrong with later ones is said in warnings.
   * `parts` are the files that are going to be read, by default all. Throws a CheckpointError where none can be used.
   */
  async wholeCheckpoint({ step, parts }: WantedCheckpoint = {}): Promise<FoundCheckpoint> {
    const newest = await this.findCheckpoint(step);
    const all = step === undefined ? (await listCheckpoints(this.checkpoints)).reverse() : [newest];
    const damaged: string[] = [];
    const problems: string[] = [];
    for (const path of all) {
      const problem = await damageOf(path, parts);
      if (problem === undefined) {
        const instead = `${path} is taken instead`;
        return {
          path,
          damaged,
          warnings: problems.map((each) => `a damaged checkpoint is passed over: ${each}; ${instead}`),
        };
      }
      damaged.push(path);
      problems.push(problem);
    }
    throw new CheckpointError([`${this.checkpoints}: no checkpoint that can be used`, ...problems].join('\n  '));
  }

  /** Rewrites run.json with some values changed. */
  change(changes: Partial<RunInfo>): Promise<void> {
    return this.replace({ ...this.current, ...changes });
  }

  /** Rewrites run.json. Throws a FileError where it is gone: a folder that was removed is not begun anew, without its records. */
  async replace(info: RunInfo): Promise<void> {
    this.current = { ...info, changed: new Date().toISOString() };
    const path = join(this.path, infoFile);
    await writing(path, async () => {
      await access(path);
      await replaceFile(path, (file) => file.writeFile(textOf(this.current)), { durable: false });
    });
  }

  async writeConfig(config: RunConfig): Promise<void> {
    await writeWhole(join(this.path, 'config.yaml'), formatConfig(config));
  }

  /** Adds records to a file, in one write. */
  async append(records: Records, objects: readonly RunRecord[]): Promise<void> {
    const path = join(this.path, `${records}.jsonl`);
    await writing(path, () => appendFile(path, formatRecords(objects)));
  }

  log(line: string): void {
    const path = join(this.path, 'log.txt');
    try {
      appendFileSync(path, `${line}\n`);
    } catch (error) {
      throw refused(path, error);
    }
  }

  /** The records of a file; lines that are none, as an interrupted write leaves them, are passed over. */
  async read<R extends RunRecord>(records: Records): Promise<R[]> {
    const text = await readFile(join(this.path, `${records}.jsonl`), 'utf8').catch(() => '');
    return text.split('\n').flatMap((line): R[] => {
      try {
        const record = JSON.parse(line) as R | null;
        return typeof record?.update === 'number' ? [record] : [];
      } catch {
        return [];
      }
    });
  }

  /** Drops the records of updates after the given one, which are about to be done again. */
  async rewind(update: number): Promise<void> {
    for (const records of recordFiles) {
      const kept = (await this.read(records)).filter((each) => each.update <= update);
      const path = join(this.path, `${records}.jsonl`);
      if (await exists(path)) await writeWhole(path, formatRecords(kept));
    }
    for (const folder of [join(this.path, 'samples'), this.previews])
      for (const name of await readdir(folder).catch(() => []))
        if (Number.parseInt(name, 10) > update) await rm(join(folder, name));
  }
}

const formatRecords = (records: readonly RunRecord[]): string =>
  records.map((each) => `${JSON.stringify(each)}\n`).join('');
