/** Who works on a run: workers.json as it is shown. */
import {
  isThere,
  parseWorkers,
  type WorkerRecord,
  withAllLeft,
  workersFile,
} from '../../finetune/workers/workers_file.js';
import { openInside } from '../../serve/inside.js';

/** A run's workers, in the order in which they came. */
export interface ShownWorkers {
  /** The address of their queue, without credentials. */
  readonly server: string;
  /** `seen`: milliseconds by this machine's clock. */
  readonly workers: readonly (Omit<WorkerRecord, 'seen'> & { readonly seen: number })[];
}

const limit = 4 << 20; // bytes: about 20,000 workers
const agreement = 60_000; // milliseconds: more than pass between a sign of life and the file that tells of it

/**
 * Reads workers.json; undefined where there is none. Workers are seen by the clock of their queue's server: where that is
 * another than this machine's, the newest sign of life counts as given when the file was written.
 */
export async function readWorkers(folder: string, isRunning: boolean): Promise<ShownWorkers | undefined> {
  const handle = await openInside(folder, workersFile);
  if (!handle) return undefined;
  try {
    const { size, mtimeMs } = await handle.stat();
    const file = size <= limit ? parseWorkers(await handle.readFile('utf8')) : undefined;
    if (!file) return undefined;
    const { server, workers } = isRunning ? file : withAllLeft(file);
    const seen = workers.map((worker) => Date.parse(worker.seen));
    const late = mtimeMs - Math.max(...seen);
    // Where nobody is there, the file may be older, or newer, than the last look at workers.
    const shift = workers.some(({ state }) => isThere(state)) && Math.abs(late) > agreement ? late : 0;
    return { server, workers: workers.map((worker, i) => ({ ...worker, seen: seen[i]! + shift })) };
  } catch {
    return undefined; // it can't be read now
  } finally {
    await handle.close();
  }
}

/** The same as it is told: seconds since each was seen, as the reader's clock may be a third one. */
export const withAges = (shown: ShownWorkers | undefined, now = Date.now()) =>
  shown && {
    ...shown,
    workers: shown.workers.map(({ seen, ...worker }) => ({ ...worker, ago: Math.max(0, (now - seen) / 1000) })),
  };
