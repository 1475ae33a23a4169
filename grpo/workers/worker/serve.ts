/** `winnow worker`: serves the runs that stand in Redis, one at a time, for as long as it is left running. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { RunConfig } from '../../config.js';
import { openDevice } from '../../finetune/device.js';
import { type ConnectionOptions, connect } from '../redis/connection.js';
import { nextRun } from './found.js';
import { RefusedError } from './outfit.js';
import type { ServeEvent } from './serve_events.js';
import { WorkerRun } from './worker_run.js';

export interface ServeOptions extends ConnectionOptions {
  /** Part of an adapter's name. */
  readonly device?: string | undefined;
  /** Where model folders, reward modules and reward servers are on this machine. */
  readonly config?: RunConfig | undefined;
}

/**
 * Serves until the signal ends it, after the shard at hand, by its reason. Throws a UsageError where the server can't be reached,
 * and what this machine itself fails by, such as a lost device.
 */
export async function* serve(options: ServeOptions): AsyncGenerator<ServeEvent, void, undefined> {
  const { signal } = options;
  const connection = await connect(options);
  try {
    const device = await openDevice({ device: options.device });
    try {
      const id = randomUUID();
      yield { kind: 'ready', server: connection.address, adapter: device.info.description };
      const refused = new Map<string, string>();
      while (true) {
        const found = await nextRun(connection, refused, signal);
        const who = { id, name: `${hostname()}:${process.pid}`, adapter: device.info.description };
        let run: WorkerRun;
        try {
          run = await WorkerRun.join(connection, device, found, { who, config: options.config });
        } catch (error) {
          if (!(error instanceof RefusedError)) throw error;
          refused.set(found.id, found.text);
          yield { kind: 'refused', run: found.id, reason: error.message };
          continue;
        }
        try {
          yield { kind: 'joined', run: found.id };
          for (const message of run.warnings) yield { kind: 'warning', message };
          yield* run.events(signal);
        } finally {
          await run.leave();
        }
        yield { kind: 'left', run: found.id };
      }
    } finally {
      device.close();
    }
  } finally {
    connection.close();
  }
}
