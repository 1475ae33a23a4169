/**
 * The trainer's side of the queue: tasks go out, reports come in. It counts for itself which reports it has: BullMQ hands a job
 * to one worker after the other, and what is lost with a worker, a connection or the server's data is handed out again, which
 * changes nothing, as a task always has the same outcome.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { sha256Of } from '../../../engine/files.js';
import { RewardError } from '../../rewards/reward.js';
import { isWorking, readWorkers, type SeenWorker } from '../board.js';
import { decode, encode, failureSchema, type Job, type Report, reportSchema, type Task } from '../messages.js';
import type { Blobs } from '../redis/blobs.js';
import { type Connection, type Keys, queueName } from '../redis/connection.js';
import type { Queue } from '../redis/packages.js';

/** A task with its name, and the worker that should do it, if there is one. */
export interface Named {
  readonly task: Task;
  /** Its text, and the hash of that. */
  readonly text: Uint8Array;
  readonly hash: string;
  readonly to?: string | undefined;
}

export interface DispatchEvents {
  /** Told of every look at the workers: who there is, and whether tasks wait while nobody works. */
  readonly onWorkers: (workers: readonly SeenWorker[], waits: boolean) => void;
  /** Told of each report. */
  readonly onReport?: ((report: Report) => void) | undefined;
  /** Puts what tasks name into Redis again, where its data may be lost. */
  readonly restore: () => Promise<unknown>;
  readonly signal?: AbortSignal | undefined;
}

/** Errors, other than a reward's, after which a task is not handed out again: it would end every worker. */
const patience = 3;

const look = 1000; // milliseconds between two looks for what is lost

/** The name of a worker's own queue, for tasks that only it has drawn. */
export const ownQueue = (worker: string): string => `${queueName}-${worker}`;

export class Dispatch {
  private readonly queues = new Map<string, Queue>();
  /** Tasks of which something was told since they were looked at. */
  private readonly news = new Set<string>();
  private wake = (): void => {};

  private constructor(
    private readonly connection: Connection,
    private readonly keys: Keys,
    private readonly blobs: Blobs,
    private readonly listener: Connection['redis'],
  ) {}

  static async open(connection: Connection, keys: Keys, blobs: Blobs): Promise<Dispatch> {
    const listener = connection.redis.duplicate();
    listener.on('error', () => {}); // the connection beside it tells
    const dispatch = new Dispatch(connection, keys, blobs, listener);
    listener.on('message', (_, task) => {
      dispatch.news.add(task);
      dispatch.wake();
    });
    await listener.subscribe(keys.news);
    await dispatch.queue(queueName).drain(); // of a trainer that was killed: what it still wants is asked for again
    return dispatch;
  }

  private queue(name: string): Queue {
    const known = this.queues.get(name);
    if (known) return known;
    const { packages, redis } = this.connection;
    const options = { connection: redis, prefix: this.keys.prefix, streams: { events: { maxLen: 100 } } };
    const queue = new packages.Queue(name, options);
    queue.on('error', () => {}); // a lost connection comes back
    this.queues.set(name, queue);
    return queue;
  }

  /** Hands out tasks and returns their reports in the same order. Throws a RewardError, or soon the signal's reason. */
  async run(tasks: readonly Named[], events: DispatchEvents): Promise<Report[]> {
    const { signal } = events;
    const reports = new Map<string, Report>();
    const missing = (): Named[] => tasks.filter(({ hash }) => !reports.has(hash));
    let looked = Number.NEGATIVE_INFINITY;
    const given = new Set<string>();
    while (true) {
      signal?.throwIfAborted();
      const woken = new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      const isDue = performance.now() - looked >= look;
      for (const { hash } of missing()) {
        if (!this.news.delete(hash) && !isDue) continue;
        const report = await this.reportOf(hash);
        if (!report) continue;
        reports.set(hash, report);
        events.onReport?.(report);
      }
      const left = missing();
      if (left.length === 0) {
        this.news.clear(); // of tasks that two workers did
        events.onWorkers(await readWorkers(this.connection, this.keys), false); // with what they have just done
        return tasks.map(({ hash }) => reports.get(hash)!);
      }
      if (isDue) {
        await this.lookAfter(left, given, events);
        looked = performance.now();
      }
      await either(woken, look, signal);
    }
  }

  /** Hands out what is nowhere, and ends what nobody can do. */
  private async lookAfter(
    left: readonly Named[],
    given: Set<string>,
    { onWorkers, restore }: DispatchEvents,
  ): Promise<void> {
    const workers = await readWorkers(this.connection, this.keys);
    const working = workers.filter(isWorking);
    onWorkers(workers, working.length === 0);
    for (const named of left) {
      await this.checkFailures(named, workers);
      const to = working.some(({ id }) => id === named.to) ? named.to : undefined;
      const queue = this.queue(to === undefined ? queueName : ownQueue(to));
      const id = named.hash.slice(0, 32);
      if ((await queue.getJobState(id)) !== 'unknown' || (await this.reportOf(named.hash))) continue;
      if (given.has(named.hash)) await restore(); // a worker, or the server's data, is lost
      given.add(named.hash);
      const data: Job = { task: await this.blobs.put(named.text) };
      await queue.add('shard', data, { jobId: id, removeOnComplete: true, removeOnFail: true });
    }
  }

  /** Ends the run where a reward fails at every worker, or a task ended some of them. */
  private async checkFailures({ hash, task }: Named, workers: readonly SeenWorker[]): Promise<void> {
    const entries = Object.entries(await this.connection.redis.hgetall(this.keys.failures(hash)));
    if (entries.length === 0) return;
    const failures = entries.flatMap(([id, text]) => {
      const failure = decode(failureSchema, text);
      return failure ? [{ id, ...failure }] : [];
    });
    const what = task.kind === 'look' ? 'an evaluation' : `update ${task.update}`;
    const others = failures.filter(({ reward }) => reward === null);
    if (others.length >= patience)
      throw new Error(`workers: ${what} ended ${others.length} of them, the first by: ${others[0]!.message}`);
    const able = workers.filter(({ alive, state }) => alive && state !== 'refused');
    const failed = failures.find(({ reward }) => reward !== null);
    if (failed && able.length > 0 && able.every(({ id }) => failures.some((failure) => failure.id === id)))
      throw RewardError.reported(failed.reward!, failed.message);
  }

  private async reportOf(task: string): Promise<Report | undefined> {
    const report = decode(reportSchema, await this.connection.redis.get(this.keys.report(task)));
    return report?.task === task ? report : undefined;
  }

  /** Forgets what came of tasks. */
  async forget(tasks: readonly Named[]): Promise<void> {
    const keys = tasks.flatMap(({ hash }) => [this.keys.report(hash), this.keys.failures(hash)]);
    if (keys.length > 0) await this.connection.redis.unlink(...keys);
    await this.blobs.delete(tasks.map(({ hash, text }) => ({ hash, bytes: text.length })));
  }

  /** Closes the connection of its own. */
  dispose(): void {
    this.listener.disconnect();
  }

  /** Takes the queues away. */
  async close(): Promise<void> {
    for (const queue of this.queues.values()) {
      await queue.obliterate({ force: true }).catch(() => {});
      await queue.close().catch(() => {});
    }
    this.dispose();
  }
}

/** A task with its hash. */
export function named(task: Task, to?: string): Named {
  const text = Buffer.from(encode(task));
  return { task, text, hash: sha256Of(text), to };
}

async function either(woken: Promise<void>, milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  const end = new AbortController();
  const interrupt = (): void => end.abort();
  signal?.addEventListener('abort', interrupt);
  try {
    await Promise.race([woken, pause(milliseconds, undefined, { signal: end.signal }).catch(() => {})]);
  } finally {
    end.abort();
    signal?.removeEventListener('abort', interrupt);
  }
}
