/** workers.json: the machines that draw and differentiate for a run. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

/** The file's name in the run's folder. */
export const workersFile = 'workers.json';

const worker = z.strictObject({
  /** Host and process. */
  name: z.string(),
  adapter: z.string(),
  /** What it does; silent and left ones are no longer there. */
  state: z.enum(['loading', 'idle', 'working', 'aside', 'refused', 'left', 'silent']),
  /** Why it is refused, or set aside. */
  reason: z.string().optional(),
  /** Groups that it has drawn. */
  groups: z.int().min(0),
  /** ISO 8601, by the server's clock. */
  seen: z.string(),
});

export const workersFileSchema = z.strictObject({
  /** What the run is called in Redis; a run that goes on keeps it. */
  id: z.string().regex(/^[\w-]{1,64}$/),
  /** The address, without credentials. */
  server: z.string(),
  /** Adapter and kernels that all workers have, where those of the first one count. */
  kind: z.strictObject({ adapter: z.string(), kernels: z.string() }).optional(),
  workers: z.array(worker),
});

export type WorkersFile = z.output<typeof workersFileSchema>;
export type WorkerRecord = z.output<typeof worker>;

/** What the file's text says; undefined where it is none. */
export function parseWorkers(text: string): WorkersFile | undefined {
  try {
    return workersFileSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** Who works on a run, or worked; undefined for a run without workers. */
export async function readWorkersFile(folder: string): Promise<WorkersFile | undefined> {
  const text = await readFile(join(folder, workersFile), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : parseWorkers(text);
}

/** Whether a worker in this state is there: those that are refused, have left or are silent are not. */
export const isThere = (state: WorkerRecord['state']): boolean => !['refused', 'left', 'silent'].includes(state);

/** The file of a run that nobody trains: whoever was there has left. */
export const withAllLeft = (file: WorkersFile): WorkersFile => ({
  ...file,
  workers: file.workers.map((worker) => (isThere(worker.state) ? { ...worker, state: 'left' } : worker)),
});

/** How many take part in a run that goes on, without those set aside, or have drawn for one that is over. */
export const countWorkers = ({ workers }: Pick<WorkersFile, 'workers'>, isRunning: boolean): number =>
  workers.filter(({ state, groups }) => (isRunning ? isThere(state) && state !== 'aside' : groups > 0)).length;
