/** A run for a Trackio server: the values of each update and evaluation, by its HTTP endpoint for many at once. */

import { basename } from 'node:path';
import { sha256Of } from '../../../engine/files.js';
import type { RunEvent, Sink } from '../run/events.js';
import type { RunFolder } from '../run/folder.js';

export interface TrackioOptions {
  /** Told once where the server is not reached or does not take what it is sent. */
  readonly warn: (message: string) => void;
  /** Milliseconds until a call counts as failed; the end of a run waits as long. Default 5000. */
  readonly timeout?: number;
}

/** One entry of the endpoint. */
interface Log {
  readonly project: string;
  readonly run: string;
  readonly run_id: string;
  readonly metrics: Readonly<Record<string, number>>;
  readonly step: number;
  /** The same for what is sent again, so that a server keeps it once. */
  readonly log_id: string;
  readonly config: unknown;
}

const waitingAtMost = 1000; // entries, should the server not answer for long

/**
 * Sends what a run tells, in the background: the run never waits for the server but for one call at its beginning and what
 * is left at its end, each for `timeout` at most. A server that can't be reached stops nothing. A token for writing is taken
 * from the environment, TRACKIO_WRITE_TOKEN.
 */
export function trackioSink(server: string, run: RunFolder, { warn, timeout = 5000 }: TrackioOptions): Sink {
  const endpoint = `${server.replace(/\/+$/, '')}/api/bulk_log`;
  const run_id = sha256Of(`${run.path} ${run.info.started}`).slice(0, 32);
  const token = process.env.TRACKIO_WRITE_TOKEN;
  const waiting: Log[] = [];
  let sending: Promise<void> | undefined;
  let warned = false;

  const post = async (logs: readonly Log[]): Promise<void> => {
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token && { 'x-trackio-write-token': token }) },
      body: JSON.stringify({ logs, hf_token: null }),
      signal: AbortSignal.timeout(timeout),
    });
    await response.arrayBuffer();
    if (!response.ok) throw new Error(`it answered ${response.status} ${response.statusText}`);
  };
  const sendAll = async (): Promise<void> => {
    while (waiting.length > 0) {
      const logs = waiting.splice(0);
      try {
        await post(logs);
      } catch (error) {
        waiting.unshift(...logs);
        waiting.splice(0, Math.max(0, waiting.length - waitingAtMost));
        if (!warned) warn(`trackio: ${server} does not take the metrics: ${reasonOf(error)}; the run goes on`);
        warned = true;
        return; // they are tried again with the next
      }
    }
  };
  const send = (): Promise<void> => {
    sending ??= sendAll().finally(() => {
      sending = undefined;
    });
    return sending;
  };

  return async (event) => {
    const found = entryOf(event);
    if (found) {
      const { name, step, metrics, config } = found;
      const log_id = sha256Of(`${run_id} ${name} ${step}`).slice(0, 32);
      waiting.push({
        project: 'winnow',
        run: basename(run.path),
        run_id,
        metrics,
        step,
        log_id,
        config: config ?? null,
      });
    }
    if (event.kind === 'started') await send();
    else if (found) void send();
    if (event.kind === 'done' || event.kind === 'failed') {
      await sending;
      await send();
    }
  };
}

interface Entry {
  readonly name: string;
  readonly step: number;
  readonly metrics: Readonly<Record<string, number>>;
  readonly config?: unknown;
}

/** What is sent of an event; undefined where nothing is. */
function entryOf(event: RunEvent): Entry | undefined {
  switch (event.kind) {
    case 'started':
      return { name: event.kind, step: event.info.updates, metrics: {}, config: event.config };
    case 'update': {
      const { update: step, ...metrics } = event.record;
      return { name: event.kind, step: step!, metrics };
    }
    case 'evaluation': {
      const means = Object.entries(event.rewards).map(([name, { mean }]) => [`eval/${name}`, mean] as const);
      return { name: event.kind, step: event.update, metrics: Object.fromEntries(means) };
    }
    default:
      return undefined;
  }
}

/** Why a call failed: fetch's own message says no more than that it did. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error && cause.message ? cause.message : message;
}
