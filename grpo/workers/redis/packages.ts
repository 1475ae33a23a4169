/**
 * The packages that runs with workers need and others don't: BullMQ, whose queues hand out the work, and ioredis, its client. Both
 * are optional, so they are looked for when they are needed, and what is used of them is written down here.
 */
import { createRequire } from 'node:module';
import { UsageError } from '../../finetune/errors.js';

/** What is used of ioredis's client. */
export interface Redis {
  readonly status: string;
  connect(): Promise<void>;
  disconnect(): void;
  quit(): Promise<unknown>;
  duplicate(): Redis;
  on(event: 'error', listener: (error: Error) => void): this;
  on(event: 'ready', listener: () => void): this;
  on(event: 'message', listener: (channel: string, message: string) => void): this;
  off(event: 'ready', listener: () => void): this;
  info(section: string): Promise<string>;
  time(): Promise<readonly (string | number)[]>;
  get(key: string): Promise<string | null>;
  getBuffer(key: string): Promise<Uint8Array | null>;
  set(key: string, value: string | Uint8Array, unit: 'PX', milliseconds: number): Promise<unknown>;
  set(key: string, value: string, unit: 'PX', milliseconds: number, condition: 'NX'): Promise<unknown>;
  exists(...keys: readonly string[]): Promise<number>;
  pexpire(key: string, milliseconds: number): Promise<unknown>;
  /** Milliseconds that a key has left; -1 where it stays for ever. */
  pttl(key: string): Promise<number>;
  unlink(...keys: readonly string[]): Promise<number>;
  hset(key: string, field: string, value: string): Promise<unknown>;
  hdel(key: string, field: string): Promise<unknown>;
  hgetall(key: string): Promise<Record<string, string>>;
  publish(channel: string, message: string): Promise<unknown>;
  subscribe(channel: string): Promise<unknown>;
  scan(cursor: string, match: 'MATCH', pattern: string, count: 'COUNT', n: number): Promise<[string, string[]]>;
}

export interface RedisOptions {
  readonly lazyConnect: boolean;
  readonly maxRetriesPerRequest: null;
  readonly retryStrategy: (times: number) => number;
  readonly tls?: { readonly ca: string };
}

export interface JobOptions {
  readonly jobId: string;
  readonly removeOnComplete: boolean;
  readonly removeOnFail: boolean;
}

/** What is used of BullMQ's queue. */
export interface Queue {
  add(name: string, data: unknown, options: JobOptions): Promise<unknown>;
  /** `unknown` where there is no such job. */
  getJobState(id: string): Promise<string>;
  drain(): Promise<void>;
  obliterate(options: { readonly force: boolean }): Promise<void>;
  close(): Promise<void>;
  on(event: 'error', listener: (error: Error) => void): this;
}

export interface QueueOptions {
  readonly connection: Redis;
  readonly prefix: string;
  readonly streams?: { readonly events: { readonly maxLen: number } };
}

/** What is used of BullMQ's worker. */
export interface QueueWorker {
  pause(doNotWaitActive?: boolean): Promise<void>;
  resume(): Promise<void>;
  close(force?: boolean): Promise<void>;
  on(event: 'error', listener: (error: Error) => void): this;
}

export interface QueueWorkerOptions extends QueueOptions {
  readonly concurrency: number;
  /** Milliseconds until a job whose worker is silent goes to another, and between two looks for such jobs. */
  readonly lockDuration: number;
  readonly stalledInterval: number;
  /** How often a job may lose its worker. */
  readonly maxStalledCount: number;
}

export interface Packages {
  readonly Redis: new (url: string, options: RedisOptions) => Redis;
  readonly Queue: new (name: string, options: QueueOptions) => Queue;
  readonly Worker: new (
    name: string,
    process: (job: { readonly data: unknown }) => Promise<void>,
    options: QueueWorkerOptions,
  ) => QueueWorker;
}

/** The versions that this was written for. */
export const wanted = { bullmq: '^6.7', ioredis: '^5.11' } as const;

/** Throws a UsageError that says what to install where one of them is missing. */
export function loadPackages(): Packages {
  const { Queue, Worker } = load('bullmq') as Pick<Packages, 'Queue' | 'Worker'>;
  const { Redis } = load('ioredis') as Pick<Packages, 'Redis'>;
  return { Queue, Worker, Redis };
}

const require = createRequire(import.meta.url);

function load(name: keyof typeof wanted): unknown {
  try {
    return require(name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    const all = Object.entries(wanted).map(([each, version]) => `${each}@${version}`);
    throw new UsageError(
      `workers need the package ${name}, which is not installed: npm install --save-prod ${all.join(' ')}`,
      {
        cause: error,
      },
    );
  }
}
