/** Connections to Redis or Valkey, and where things stand there. */
import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../../../engine/errors.js';
import { reading } from '../../../engine/files.js';
import { UsageError } from '../../finetune/errors.js';
import { withoutCredentials } from '../../rewards/credentials.js';
import { loadPackages, type Packages, type Redis } from './packages.js';

export interface ConnectionOptions {
  /** redis:// or rediss://, with the password in it. Default: that of the environment, WINNOW_REDIS. */
  readonly url?: string | undefined;
  /** A file with the certificate that signed the server's, PEM, for rediss://. */
  readonly ca?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An open connection. */
export interface Connection {
  readonly packages: Packages;
  readonly redis: Redis;
  /** The address for messages, without credentials. */
  readonly address: string;
  /** The server's clock in milliseconds, by which all machines agree on who was seen when. */
  now(): Promise<number>;
  close(): void;
}

const patience = 5000; // milliseconds until a server that does not answer at first is given up; later it is waited for

/**
 * Connects, once with a deadline: a server that is lost later is waited for. Throws a UsageError for an address that is none, a
 * server that can't be reached or refuses, and one that BullMQ can't work with.
 */
export async function connect({ url, ca, signal }: ConnectionOptions): Promise<Connection> {
  const given = url || process.env.WINNOW_REDIS; // `--workers` without a value is an empty text
  if (!given) throw new UsageError('workers: expected an address such as redis://host:6379, or WINNOW_REDIS with one');
  const address = withoutCredentials(given);
  if (!/^rediss?:\/\/./.test(given) || !URL.canParse(given))
    throw new UsageError(`workers: "${address}" is no address: expected redis://host:6379 or rediss://host:6379`);
  if (ca !== undefined && !given.startsWith('rediss:'))
    throw new UsageError(`workers: a CA is for rediss://, found ${address}`);
  const packages = loadPackages();
  const tls = ca === undefined ? {} : { tls: { ca: await reading(ca, 'a certificate', () => readFile(ca, 'utf8')) } };
  const redis = new packages.Redis(given, {
    lazyConnect: true,
    maxRetriesPerRequest: null, // a server that restarts is waited for
    retryStrategy: (times) => Math.min(100 * times, 1000),
    ...tls,
  });
  let problem = 'no answer';
  redis.on('error', (error) => {
    problem = withoutCredentials(messageOf(error));
  });
  try {
    await within(greet(redis), signal);
  } catch (error) {
    redis.disconnect();
    signal?.throwIfAborted();
    if (error instanceof UsageError) throw new UsageError(`workers: ${address}: ${error.message}`);
    const isLate = error instanceof Error && error.name === 'AbortError';
    const reason = isLate ? problem : withoutCredentials(messageOf(error));
    throw new UsageError(`workers: ${address} can't be reached: ${reason}`);
  }
  return {
    packages,
    redis,
    address,
    now: async () => {
      const [seconds, microseconds] = await redis.time();
      return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
    },
    close: () => redis.disconnect(),
  };
}

/** Looks at the server: BullMQ needs Redis's scripts as Redis has them. */
async function greet(redis: Redis): Promise<void> {
  await redis.connect().catch((error: Error) => {
    if (!/already|closed/i.test(error.message)) throw error;
  });
  const info = await redis.info('server');
  if (/dragonfly/i.test(info)) throw new UsageError('Dragonfly is not supported: expected Redis or Valkey');
  const version = /redis_version:(\d+)\.(\d+)/.exec(info);
  const [major, minor] = [Number(version?.[1]), Number(version?.[2])];
  if (version && (major < 6 || (major === 6 && minor < 2)))
    throw new UsageError(`Redis ${major}.${minor} is too old: expected 6.2 or later`);
}

async function within<R>(work: Promise<R>, signal: AbortSignal | undefined): Promise<R> {
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), patience);
  try {
    return await orAborted(work, signal ? AbortSignal.any([signal, end.signal]) : end.signal);
  } finally {
    clearTimeout(timer);
  }
}

/** What comes of work, or the signal's reason, which is not kept waiting by a server that is away. */
export async function orAborted<R>(work: Promise<R>, signal: AbortSignal | undefined): Promise<R> {
  if (!signal) return work;
  signal.throwIfAborted();
  let interrupt = (): void => {};
  const end = new Promise<never>((_, reject) => {
    interrupt = () => reject(signal.reason);
    signal.addEventListener('abort', interrupt);
  });
  work.catch(() => {}); // where the signal is first, nobody waits for it
  try {
    return await Promise.race([work, end]);
  } finally {
    signal.removeEventListener('abort', interrupt);
  }
}

/** Waits for work, so many milliseconds at most: what a server that is away would keep waiting. What it fails by is of no account. */
export const atMost = (milliseconds: number, work: Promise<unknown>): Promise<unknown> =>
  Promise.race([work.catch(() => {}), pause(milliseconds, undefined, { ref: false })]);

/** Tells, once each, that the server is away for some seconds, and that it is there again. Returns what ends the watch. */
export function watchConnection({ redis, address }: Connection, tell: (message: string) => void): () => void {
  let away = 0;
  const timer = setInterval(() => {
    if (redis.status !== 'ready' && ++away === noticed) tell(`${address} does not answer: waiting for it`);
  }, 1000);
  const back = (): void => {
    if (away >= noticed) tell(`${address} is there again`);
    away = 0;
  };
  redis.on('ready', back);
  return () => {
    clearInterval(timer);
    redis.off('ready', back);
  };
}

const noticed = 3; // seconds

/** Milliseconds that what stands in Redis outlives its last use: nothing of a run stays for ever. */
export const lifetime = 24 * 3600 * 1000;

/** Runs that may be served: a hash, what is said of each by its id. */
export const runsKey = 'winnow:runs';

export const queueName = 'shards';

/** The names under which all of one run stands. Its id in braces keeps them together on one node of a cluster. */
export function keysOf(run: string) {
  const prefix = `{winnow:${run}}`;
  return {
    /** Also that of BullMQ's own keys. */
    prefix,
    /** What the run is, JSON. */
    run: `${prefix}:run`,
    /** Who works, a hash. */
    workers: `${prefix}:workers`,
    /** The adapter and kernels of the first worker, where these count, JSON. */
    machine: `${prefix}:machine`,
    /** Where is told that a report has come. */
    news: `${prefix}:news`,
    blob: (hash: string, chunk: number) => `${prefix}:blob:${hash}:${chunk}`,
    /** What came of a task, by the task's hash. */
    report: (task: string) => `${prefix}:report:${task}`,
    /** Workers that failed at it, a hash. */
    failures: (task: string) => `${prefix}:failures:${task}`,
  };
}

export type Keys = ReturnType<typeof keysOf>;

/** Every key that stands under the prefix of a run; by default under that of any. */
export async function* keysUnder(redis: Redis, prefix = keysOf('*').prefix): AsyncGenerator<string> {
  const pattern = `${prefix}:*`;
  let cursor = '0';
  do {
    const [next, keys] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', 1000);
    yield* keys;
    cursor = next;
  } while (cursor !== '0');
}

/** Has keys expire that would stay for ever: BullMQ's own, where a trainer or a worker was killed. */
export async function expireAll(redis: Redis): Promise<void> {
  for await (const key of keysUnder(redis)) if ((await redis.pttl(key)) === -1) await redis.pexpire(key, lifetime);
}
