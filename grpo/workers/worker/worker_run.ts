/** One run at a worker: its model and rewards, loaded and compared with what the run expects, and the queues that it works from. */
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../../engine/errors.js';
import type { Device } from '../../../engine/index.js';
import type { RunConfig } from '../../config.js';
import { told } from '../../finetune/run/told.js';
import { RewardError } from '../../rewards/reward.js';
import { beat, beating, silence, writeWorker } from '../board.js';
import {
  decode,
  encode,
  type Failure,
  jobSchema,
  type Report,
  runHash,
  type Task,
  taskSchema,
  type WorkerInfo,
} from '../messages.js';
import { Blobs } from '../redis/blobs.js';
import {
  atMost,
  type Connection,
  expireAll,
  type Keys,
  keysOf,
  lifetime,
  orAborted,
  queueName,
  watchConnection,
} from '../redis/connection.js';
import type { QueueWorker } from '../redis/packages.js';
import { ownQueue } from '../trainer/dispatch.js';
import { type FoundRun, liveRuns } from './found.js';
import { type Outfit, outfitOf, RefusedError } from './outfit.js';
import type { ServeEvent } from './serve_events.js';
import { LostBlobError, ShardWork } from './shard_work.js';

export interface JoinOptions {
  readonly who: Pick<WorkerInfo, 'id' | 'name' | 'adapter'>;
  /** Where things are on this machine. */
  readonly config: RunConfig | undefined;
}

/** Milliseconds without a sign of the trainer after which a worker leaves a run for another, or for good. */
const [forAnother, forGood] = [2 * silence, 600_000];
/** Milliseconds that a worker whose reward has failed takes no tasks: so long at first, doubled each time. */
const [firstAside, longestAside] = [30_000, 600_000];

type Tell = (event: ServeEvent) => void;

export class WorkerRun {
  private info: Omit<WorkerInfo, 'seen'>;
  private readonly stops: (() => void)[] = [];
  private queues: QueueWorker[] = [];
  /** The device does one task at a time, whichever queue it came from. */
  private turn: Promise<unknown> = Promise.resolve();
  private asides = 0;
  private fail = (_: unknown): void => {};
  /** The run goes on with another configuration than the one that is loaded. */
  private isOutdated = false;

  private constructor(
    private readonly connection: Connection,
    readonly id: string,
    private readonly hash: string,
    private readonly keys: Keys,
    private readonly blobs: Blobs,
    { who }: JoinOptions,
    joined: number,
  ) {
    this.info = { ...who, state: 'loading', groups: 0, joined };
  }

  private outfit: Outfit | undefined;
  private work: ShardWork | undefined;

  /** Loads what the run needs. Throws a RefusedError where it is not what the run expects, or is not here. */
  static async join(connection: Connection, device: Device, found: FoundRun, options: JoinOptions): Promise<WorkerRun> {
    const keys = keysOf(found.id);
    const blobs = new Blobs(connection.redis, keys);
    const run = new WorkerRun(
      connection,
      found.id,
      runHash(found.description),
      keys,
      blobs,
      options,
      await connection.now(),
    );
    await run.show('loading');
    run.stops.push(beating(() => writeWorker(connection, keys, run.info)));
    try {
      run.outfit = await outfitOf(connection, keys, device, found.description, options.config);
      const { reference } = found.description;
      run.work = await ShardWork.create(run.outfit, { blobs, reference });
      await run.show('idle');
      return run;
    } catch (error) {
      const isRefused = error instanceof RefusedError;
      await run.leave(isRefused ? 'refused' : 'left', isRefused ? error.message : undefined);
      throw error;
    }
  }

  /** What a person should know of the model's files. */
  get warnings(): readonly string[] {
    return this.outfit!.warnings;
  }

  /** Works until the run has ended, or the signal ends it after the task at hand. Throws what ends the whole worker. */
  async *events(signal: AbortSignal | undefined): AsyncGenerator<ServeEvent, void, undefined> {
    const end = new AbortController();
    const stop = signal ? AbortSignal.any([signal, end.signal]) : end.signal;
    yield* told<ServeEvent, void>(
      (tell) => this.serve(tell, stop),
      () => end.abort(),
    );
    signal?.throwIfAborted();
  }

  private async serve(tell: Tell, signal: AbortSignal): Promise<void> {
    const { packages, redis } = this.connection;
    const lock = 1000 * this.outfit!.config.workers.lock_s;
    const failed = new Promise<never>((_, reject) => {
      this.fail = reject;
    });
    failed.catch(() => {}); // it is looked at below
    const options = {
      connection: redis,
      prefix: this.keys.prefix,
      concurrency: 1,
      lockDuration: lock,
      stalledInterval: lock / 4,
      maxStalledCount: 1_000_000, // lost workers are no fault of a shard
    };
    this.queues = [queueName, ownQueue(this.info.id)].map((name) => {
      const worker = new packages.Worker(name, ({ data }) => this.take(data, tell), options);
      worker.on('error', () => {}); // a lost connection comes back, and a lost lock means that another does the task
      return worker;
    });
    this.stops.push(watchConnection(this.connection, (message) => tell({ kind: 'warning', message })));
    await Promise.race([failed, this.untilOver(signal)]);
  }

  /** Waits for the end of the run: its trainer has taken it away, or has been silent for long. */
  private async untilOver(signal: AbortSignal): Promise<void> {
    let seen = performance.now();
    while (!signal.aborted) {
      await pause(beat, undefined, { signal }).catch(() => {});
      const live = await orAborted(liveRuns(this.connection), signal).catch((): string[] => []);
      if (live.includes(this.id)) seen = performance.now();
      const silent = performance.now() - seen;
      if (this.isOutdated) return;
      const isGone = silent > 3 * beat && (await orAborted(this.isGone(), signal).catch(() => false));
      if (isGone || silent > forGood || (silent > forAnother && live.length > 0)) return;
    }
  }

  private async isGone(): Promise<boolean> {
    return (await this.connection.redis.exists(this.keys.run)) === 0;
  }

  /** Takes a job when the device is free. */
  private take(data: unknown, tell: Tell): Promise<void> {
    const done = this.turn.then(() => this.process(data, tell));
    this.turn = done.catch(() => {});
    return done;
  }

  private async process(data: unknown, tell: Tell): Promise<void> {
    const job = jobSchema.safeParse(data);
    if (!job.success) return;
    const { hash } = job.data.task;
    const { redis } = this.connection;
    const bytes = await this.blobs.get(job.data.task);
    const task = bytes && decode(taskSchema, Buffer.from(bytes).toString());
    if (task && task.run !== this.hash) this.isOutdated = true;
    if (!task || this.isOutdated) return; // the trainer, which misses its report, hands it out again
    await this.show('working');
    try {
      if ((await redis.exists(this.keys.report(hash))) === 0) await this.doTask(task, hash, tell);
      await this.show('idle');
    } catch (error) {
      if (error instanceof LostBlobError) await this.show('idle');
      else await this.failed(error, hash, tell);
    }
    await redis.publish(this.keys.news, hash);
  }

  private async doTask(task: Task, hash: string, tell: Tell): Promise<void> {
    const done = await this.work!.do(task, undefined);
    const report: Report = { task: hash, worker: this.info.id, ...done };
    await this.connection.redis.set(this.keys.report(hash), encode(report), 'PX', lifetime);
    const groups = task.kind === 'draw' ? task.prompts.length : 0;
    this.info = { ...this.info, groups: this.info.groups + groups };
    this.asides = 0;
    const what = task.kind === 'look' ? { pictures: task.jobs.length } : { update: task.update, groups };
    tell({ kind: 'task', task: task.kind, run: this.id, ...what, seconds: done.seconds });
  }

  /** Tells the trainer what a task failed by. After a reward's failure this worker steps aside; anything else ends it. */
  private async failed(error: unknown, hash: string, tell: Tell): Promise<void> {
    const { redis } = this.connection;
    const failure: Failure = {
      reward: error instanceof RewardError ? error.reward : null,
      message: messageOf(error).slice(0, 2000),
    };
    await redis.hset(this.keys.failures(hash), this.info.id, encode(failure));
    await redis.pexpire(this.keys.failures(hash), lifetime);
    if (failure.reward === null) {
      this.fail(error);
      return;
    }
    const time = Math.min(firstAside * 2 ** this.asides++, longestAside);
    tell({ kind: 'warning', message: `${failure.message}; takes no tasks for ${Math.round(time / 1000)} s` });
    await this.show('aside', failure.message);
    for (const queue of this.queues) await queue.pause(true);
    const timer = setTimeout(() => void this.resume().catch(() => {}), time);
    this.stops.push(() => clearTimeout(timer));
  }

  private async resume(): Promise<void> {
    await this.show('idle');
    for (const queue of this.queues) await queue.resume();
  }

  private async show(state: WorkerInfo['state'], reason?: string): Promise<void> {
    const { reason: _, ...info } = this.info;
    this.info = { ...info, state, ...(reason !== undefined && { reason: reason.slice(0, 2000) }) };
    await writeWorker(this.connection, this.keys, this.info);
  }

  /** Finishes the task at hand and frees everything. */
  async leave(state: 'left' | 'refused' = 'left', reason?: string): Promise<void> {
    for (const queue of this.queues.splice(0)) await atMost(unfinished, queue.close());
    for (const stop of this.stops.splice(0)) stop();
    await atMost(farewell, this.show(state, reason));
    await atMost(farewell, expireAll(this.connection.redis));
    this.work?.dispose();
    this.outfit?.dispose();
  }
}

/** Milliseconds for the task at hand, and for a last word. */
const [unfinished, farewell] = [3_600_000, 5000];
