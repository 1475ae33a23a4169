/** Who works on a run: each worker says so of itself every few seconds, and by the server's clock it is seen who has gone silent. */

import { decode, encode, type WorkerInfo, workerSchema } from './messages.js';
import { type Connection, type Keys, lifetime } from './redis/connection.js';

/** Milliseconds between two signs of life, of workers and of trainers. */
export const beat = 2000;
/** Milliseconds of silence after which a worker or a trainer is not counted on. */
export const silence = 15_000;

/** Runs `body` every so many milliseconds until it is stopped, one at a time. What it throws, as a lost connection does, is left to the next. */
export function beating(body: () => Promise<unknown>, every = beat): () => void {
  let busy = false;
  const timer = setInterval(() => {
    if (busy) return; // a server that is away keeps every command waiting
    busy = true;
    void body()
      .catch(() => {})
      .finally(() => {
        busy = false;
      });
  }, every);
  return () => clearInterval(timer);
}

export async function writeWorker(
  { redis, now }: Connection,
  keys: Keys,
  info: Omit<WorkerInfo, 'seen'>,
): Promise<void> {
  await redis.hset(keys.workers, info.id, encode({ ...info, seen: await now() }));
  await redis.pexpire(keys.workers, lifetime);
}

/** A worker, and whether it was seen lately. */
export interface SeenWorker extends WorkerInfo {
  readonly alive: boolean;
}

const forgotten = 3_600_000; // milliseconds after which one that is gone is listed no more: machines that come and go are many

/** All workers of a run that were there in the last hour, in the order in which they came. */
export async function readWorkers({ redis, now }: Connection, keys: Keys): Promise<SeenWorker[]> {
  const [entries, time] = [await redis.hgetall(keys.workers), await now()];
  const workers = Object.values(entries).flatMap((text) => decode(workerSchema, text) ?? []);
  for (const { id, seen } of workers) if (time - seen > forgotten) await redis.hdel(keys.workers, id);
  return workers
    .filter(({ seen }) => time - seen <= forgotten)
    .map((worker) => ({ ...worker, alive: worker.state !== 'left' && time - worker.seen < silence }))
    .sort((a, b) => a.joined - b.joined || a.id.localeCompare(b.id));
}

/** Whether a worker takes tasks, or is about to. */
export const isWorking = ({ alive, state }: SeenWorker): boolean => alive && state !== 'refused' && state !== 'aside';
