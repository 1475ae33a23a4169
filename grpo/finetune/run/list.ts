/** Runs by their names and folders. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../../../engine/files.js';
import { livelyInfo, type RunInfo } from './info.js';

/** A run, and the folder that it is. */
export interface ListedRun {
  readonly folder: string;
  readonly info: RunInfo;
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
    if (await exists(join(folder, 'run.json'))) found.push({ folder, info: await livelyInfo(folder) });
  }
  return found.sort((a, b) => a.info.started.localeCompare(b.info.started));
}
