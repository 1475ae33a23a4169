/** Runs that stand in Redis, for workers that look for one. */
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { beat, silence } from '../board.js';
import { decode, type RunDescription, runSchema } from '../messages.js';
import { type Connection, keysOf, orAborted, runsKey } from '../redis/connection.js';

/** A run that may be served. */
export interface FoundRun {
  readonly id: string;
  /** Its description as it stands in Redis: of one that has changed a refusal means nothing. */
  readonly text: string;
  readonly description: RunDescription;
}

const signSchema = z.strictObject({ started: z.number(), seen: z.number() });

/** Runs whose trainer was seen within so many milliseconds, the newest first. */
export async function liveRuns({ redis, now }: Connection, within = silence): Promise<string[]> {
  const [entries, time] = [await redis.hgetall(runsKey), await now()];
  return Object.entries(entries)
    .flatMap(([id, text]) => {
      const sign = decode(signSchema, text);
      return sign && time - sign.seen < within && /^[\w-]{1,64}$/.test(id) ? [{ id, ...sign }] : [];
    })
    .sort((a, b) => b.started - a.started)
    .map(({ id }) => id);
}

/** Waits for a run that this worker was not refused by. Throws the signal's reason. */
export async function nextRun(
  connection: Connection,
  refused: ReadonlyMap<string, string>,
  signal: AbortSignal | undefined,
): Promise<FoundRun> {
  while (true) {
    signal?.throwIfAborted();
    for (const id of await orAborted(liveRuns(connection), signal)) {
      const text = await orAborted(connection.redis.get(keysOf(id).run), signal);
      const description = decode(runSchema, text);
      if (text !== null && description && refused.get(id) !== text) return { id, text, description };
    }
    await pause(beat / 2, undefined, { signal }).catch(() => {});
  }
}
