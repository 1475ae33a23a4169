/** Runs by their names and folders. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../../../engine/files.js';
import { readWorkersFile, type WorkersFile, withAllLeft } from '../workers/workers_file.js';
import { livelyInfo, type RunInfo } from './info.js';

/** A run, and the folder that it is. */
export interface ListedRun {
  readonly folder: string;
  readonly info: RunInfo;
  /** Who works on it, or worked; absent of a run without workers. */
  readonly workers?: WorkersFile;
}

/** The folder of the run that is named: itself, or below `runs`; undefined where it is none. */
export async function findRun(given: string): Promise<string | undefined> {
  for (const folder of [given, join('runs', given)]) if (await exists(join(folder, 'run.json'))) return folder;
  return undefined;
}

/** The runs below a folder, oldest first; one that is marked as running but that no process holds is given as failed. */
export async function listRuns(out: string): Promise<ListedRun[]> {
  const names = await readdir(out).catch(() => []);
  const found: ListedRun[] = [];
  for (const name of names) {
    const folder = join(out, name);
    if (!(await exists(join(folder, 'run.json')))) continue;
    const [info, workers] = [await livelyInfo(folder), await readWorkersFile(folder)];
    const shown = info.status === 'running' ? workers : workers && withAllLeft(workers);
    found.push({ folder, info, ...(shown && { workers: shown }) });
  }
  return found.sort((a, b) => a.info.started.localeCompare(b.info.started));
}
