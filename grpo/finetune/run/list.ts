/** Runs by their names and folders. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { exists } from '../../../engine/files.js';
import { livelyInfo, type RunInfo, readInfo } from './info.js';

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

/** The runs below a folder, oldest first; one that is marked as running but whose process has ended is given as failed. */
export async function listRuns(out: string): Promise<ListedRun[]> {
  const names = await readdir(out).catch(() => []);
  const found: ListedRun[] = [];
  for (const name of names) {
    const folder = join(out, name);
    if (await exists(join(folder, 'run.json'))) found.push({ folder, info: livelyInfo(await readInfo(folder)) });
  }
  return found.sort((a, b) => a.info.started.localeCompare(b.info.started));
}

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
