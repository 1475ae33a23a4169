/** Folders of runs, held by their process before anything is loaded; of new runs the name and the lock are taken in one act. */
import { rmdirSync } from 'node:fs';
import { mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { exists, writing } from '../../../engine/files.js';
import { UsageError } from '../errors.js';
import { RunFolder } from './folder.js';
import { type Hold, holdFolder, isLockFile, tryHolding } from './lock.js';

/** The folder of a run, held by this process. */
export interface HeldRun extends Hold {
  readonly path: string;
  /** Lets it go; a folder in which no run has begun, without run.json, is taken away with the folders that were made for it. */
  release(): Promise<void>;
}

/** Holds a run by its folder or name. Throws a FileError where there is none, a UsageError where another process trains it. */
export async function holdRun(given: string): Promise<HeldRun> {
  const { path } = await RunFolder.open(given);
  return { path, ...(await holdFolder(path)) };
}

/** Reserves a folder by its name. Throws a UsageError where it exists, a FileError where the system refuses. */
export async function reserveNamed(path: string): Promise<HeldRun> {
  const reserved = await reserve(path);
  if (reserved) return reserved;
  throw new UsageError(`${path} exists; choose another --name, or go on with --resume`);
}

/** Reserves a folder below `out`: `2026-11-23_10-15_scenes-flow_s42`, with the next number behind it where that is taken. */
export async function reserveDated(out: string, name: string, seed: number, now = new Date()): Promise<HeldRun> {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  const folder = join(out, `${day}_${two(now.getHours())}-${two(now.getMinutes())}_${name}_s${seed}`);
  for (let i = 1; ; i++) {
    const reserved = await reserve(i === 1 ? folder : `${folder}_${i}`);
    if (reserved) return reserved;
  }
}

/**
 * Reserves a folder; undefined where it is taken. Making the folder decides between processes that want its name. One that
 * holds nothing but the lock of a process that was killed before its run began is free again: there the lock decides.
 */
async function reserve(path: string): Promise<HeldRun | undefined> {
  return writing(path, async () => {
    const above = await make(path);
    if (above === undefined && !(await holdsOnlyLock(path))) return undefined;
    const removeFolders = async (): Promise<void> => {
      for (const folder of [path, ...(above ?? [])]) await rmdir(folder).catch(() => {});
    };
    const hold = await tryHolding(path).catch(async (error: unknown) => {
      if (!(await exists(path))) return undefined; // taken away by the process that had made it
      await removeFolders();
      throw error;
    });
    if (!hold) return reserve(path);
    if (!('release' in hold)) return undefined;
    const removeEmpty = (): void => {
      try {
        rmdirSync(path);
      } catch {
        // A run has begun there.
      }
    };
    process.once('exit', removeEmpty); // after the lock's own, which removes its file
    const held: HeldRun = {
      path,
      release: async () => {
        process.off('exit', removeEmpty);
        const begun = await exists(join(path, 'run.json'));
        const left = begun ? [] : (await readdir(path).catch(() => [])).filter((name) => !isLockFile(name));
        for (const name of left) await rm(join(path, name), { recursive: true, force: true });
        await hold.release();
        if (!begun) await removeFolders();
      },
    };
    if (await holdsOnlyLock(path)) return held;
    process.off('exit', removeEmpty);
    await hold.release(); // another process had a run there in the meantime
    return undefined;
  });
}

/** Makes a folder, and those above it, which it returns, the lowest first; undefined where it exists. */
async function make(path: string): Promise<string[] | undefined> {
  const above: string[] = [];
  while (true) {
    const first = await mkdir(dirname(path), { recursive: true });
    if (first !== undefined)
      for (let folder = resolve(dirname(path)); ; folder = dirname(folder)) {
        above.push(folder);
        if (folder === resolve(first) || folder === dirname(folder)) break;
      }
    try {
      await mkdir(path);
      return above;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') return undefined;
      if (code !== 'ENOENT') throw error; // else another process has taken away the folder above, which it had made
    }
  }
}

async function holdsOnlyLock(path: string): Promise<boolean> {
  const names = await readdir(path).catch(() => []);
  return names.length > 0 && names.every(isLockFile);
}
