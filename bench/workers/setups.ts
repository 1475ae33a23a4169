/**
 * Runs of scenes-flow with more and less workers, of which one goes on for some updates while the others are stopped by SIGSTOP, in
 * turns of seconds: whatever else a machine does meets all of them. By the clock: updates, bytes through Redis, the workers' parts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Redis } from '../../grpo/workers/redis/packages.js';
import type { ServeEvent } from '../../grpo/workers/worker/serve_events.js';
import { processorSeconds, watchOthers } from './processors.js';

/** One turn of a setup, means of its updates. */
export interface Turn {
  /** 0: the trainer itself draws and learns, on the first core. */
  readonly workers: number;
  readonly seconds: number;
  /** Seconds of the worker that is busy the longest: drawing, learning, moving. */
  readonly draw: number;
  readonly learn: number;
  readonly move: number;
  /** What is left of the update then: the trainer, the queue, the server. */
  readonly rest: number;
  /** Bytes that Redis took in and gave out. */
  readonly bytes: { readonly in: number; readonly out: number };
  /** Seconds of processor time of the trainer. */
  readonly trainer: number;
  /** Cores' worth of time that other processes had meanwhile. */
  readonly others: number;
}

export interface SetupOptions {
  readonly workers: number;
  /** Cores for the workers, one each. */
  readonly cores: readonly number[];
  /** A database of its own, as workers join any run. */
  readonly url: string;
  /** The server's process. */
  readonly server: number;
  readonly redis: Redis;
  /** Where the run's folder goes. */
  readonly out: string;
}

export interface Setup {
  readonly workers: number;
  /** Goes on for an update that does not count, as some of it may have been done before, and so many more; then stops again. */
  turn(updates: number): Promise<Turn>;
  close(): Promise<void>;
}

/** Updates at first that do not count: of one, everything is compiled; of the next, caches are filled. */
const first = 3;

const main = join('dist', 'grpo', 'cli', 'main.js');

/** What a worker tells of a shard that it has drawn and differentiated. */
type Shard = Extract<ServeEvent, { kind: 'task' }>;

/** An update's end. */
interface Mark {
  readonly time: number;
  readonly processor: number;
  readonly moved: Promise<{ readonly in: number; readonly out: number }>;
}

/** Starts a trainer and its workers, each a process with one thread of the driver's, and stops them after their first updates. */
export async function openSetup({ workers, cores, url, server, redis, out }: SetupOptions): Promise<Setup> {
  const shards = Array.from({ length: workers }, (): Shard[] => []);
  const marks: Mark[] = [];
  let wake = (): void => {};
  const children = Array.from({ length: workers }, (_, worker) =>
    winnow(['worker', '--redis', url, '--json'], cores[worker], ({ event, ...facts }) => {
      if (event === 'task' && facts.task === 'draw') shards[worker]!.push({ kind: event, ...facts } as Shard);
    }),
  );
  // One that is stopped for long is not to lose its shards to another.
  const sets = ['eval.n=4', 'eval.rewards=[]', 'workers.lock_s=3600'].flatMap((set) => ['--set', set]);
  const to = workers > 0 ? ['--workers', url] : [];
  const args = ['train', 'scenes-flow', '--steps', '100000', '--out', out, '--name', `${workers}`, '--json', ...sets];
  const trainer = winnow([...args, ...to], workers > 0 ? undefined : cores[0], ({ event }) => {
    if (event !== 'update') return;
    marks.push({ time: performance.now(), processor: processorSeconds(trainer.pid!), moved: traffic(redis) });
    wake();
  });
  children.push(trainer);
  const killAll = (): void => {
    for (const child of children) child.kill('SIGKILL'); // nothing of it is kept
  };
  process.once('exit', killAll); // those that are stopped would stay for ever
  let said = '';
  trainer.stderr!.on('data', (text: Buffer) => {
    said += text;
  });
  const ended = once(trainer, 'exit').then(([status]) => {
    throw new Error(`bench: the trainer of ${workers} workers ended with ${status}: ${said}`);
  });
  ended.catch(() => {}); // looked at while updates are waited for
  const until = async (count: number): Promise<void> => {
    while (marks.length < count) {
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      await Promise.race([woken, ended]);
    }
  };
  const signal = (name: NodeJS.Signals): void => {
    for (const child of children) child.kill(name);
  };
  const close = async (): Promise<void> => {
    const living = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
    const over = living.map((child) => once(child, 'exit'));
    killAll();
    await Promise.all(over);
    process.off('exit', killAll);
  };
  try {
    await until(first);
    signal('SIGSTOP');
  } catch (error) {
    await close();
    throw error;
  }
  return {
    workers,
    close,
    async turn(count) {
      const begin = marks.length;
      const others = watchOthers([server, ...children.map(({ pid }) => pid!)]);
      signal('SIGCONT');
      await until(begin + 1 + count);
      const elsewhere = others();
      signal('SIGSTOP');
      const [start, end] = [marks[begin]!, marks[begin + count]!];
      const [before, after] = await Promise.all([start.moved, end.moved]);
      const seconds = (end.time - start.time) / 1000 / count;
      const counted = Array.from({ length: count }, (_, i) => busiest(shards, begin + 1 + i));
      const mean = (part: keyof Parts): number => counted.reduce((sum, parts) => sum + parts[part], 0) / count;
      const parts = { draw: mean('draw'), learn: mean('learn'), move: mean('move') };
      return {
        workers,
        seconds,
        ...parts,
        rest: seconds - total(parts),
        bytes: { in: (after.in - before.in) / count, out: (after.out - before.out) / count },
        trainer: (end.processor - start.processor) / count,
        others: elsewhere,
      };
    },
  };
}

/** A process of winnow; its objects on stdout are told. */
function winnow(
  args: readonly string[],
  core: number | undefined,
  tell: (object: { readonly event: string; readonly task?: string }) => void,
): ChildProcess {
  const command = [process.execPath, main, ...args];
  const [program, ...rest] = core === undefined ? command : ['taskset', '-c', String(core), ...command];
  const env = { ...process.env, LP_NUM_THREADS: '1' };
  const child = spawn(program!, rest, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  createInterface({ input: child.stdout! }).on('line', (line) => tell(JSON.parse(line)));
  child.stderr!.resume(); // a full pipe would stop it
  return child;
}

type Parts = Shard['seconds'];
const total = ({ draw, learn, move }: Parts): number => draw + learn + move;

/** What the worker does of an update that has the most to do. */
function busiest(shards: readonly (readonly Shard[])[], update: number): Parts {
  const parts = shards.map((own) => {
    const done = own.filter((shard) => shard.update === update);
    const sum = (part: keyof Parts): number => done.reduce((seconds, shard) => seconds + shard.seconds[part], 0);
    return { draw: sum('draw'), learn: sum('learn'), move: sum('move') };
  });
  return parts.reduce((most, each) => (total(each) > total(most) ? each : most), { draw: 0, learn: 0, move: 0 });
}

/** Bytes that the server took in and gave out since it began. */
async function traffic(redis: Redis): Promise<{ readonly in: number; readonly out: number }> {
  const info = await redis.info('stats');
  const of = (name: string): number => Number(new RegExp(`total_net_${name}_bytes:(\\d+)`).exec(info)![1]);
  return { in: of('input'), out: of('output') };
}
