/** A run with so many workers, each a process on a core of its own, by the clock: updates, bytes through Redis, the workers' parts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Redis } from '../../grpo/workers/redis/packages.js';
import type { ServeEvent } from '../../grpo/workers/worker/serve_events.js';
import { percentile } from '../report.js';

/** Of an update, medians over those after the first ones. */
export interface Round {
  /** 0: the trainer itself draws and learns, on the first core. */
  readonly workers: number;
  /** Updates that count. */
  readonly updates: number;
  /** Seconds from one update's end to the next one's; and the fastest and the slowest of them. */
  readonly seconds: number;
  readonly range: readonly [number, number];
  /** Of the worker that is busy the longest: drawing, learning, moving. */
  readonly draw: number;
  readonly learn: number;
  readonly move: number;
  /** What is left of the update then: the trainer, the queue, the server. */
  readonly rest: number;
  /** Bytes that Redis took in and gave out. */
  readonly bytes: { readonly in: number; readonly out: number };
  /** Seconds of processor time of the trainer. */
  readonly trainer: number;
}

export interface RoundOptions {
  readonly workers: number;
  /** Cores for the workers, one each. */
  readonly cores: readonly number[];
  readonly updates: number;
  readonly url: string;
  readonly redis: Redis;
  /** Where the run's folder goes. */
  readonly out: string;
}

/** Updates at first that do not count: of one, everything is compiled; of the next, caches are filled. */
const first = 3;

const main = join('dist', 'grpo', 'cli', 'main.js');

/** A process of winnow with one thread of the driver's; what it writes on stdout is told line by line. */
function winnow(args: readonly string[], core: number | undefined, tell: (line: string) => void): ChildProcess {
  const command = [process.execPath, main, ...args];
  const [program, ...rest] = core === undefined ? command : ['taskset', '-c', String(core), ...command];
  const env = { ...process.env, LP_NUM_THREADS: '1' };
  const child = spawn(program!, rest, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  createInterface({ input: child.stdout! }).on('line', tell);
  child.stderr!.resume(); // a full pipe would stop it
  return child;
}

type Shard = Extract<ServeEvent, { kind: 'shard' }>;

/** Bytes that the server took in and gave out since it began. */
async function traffic(redis: Redis): Promise<{ readonly in: number; readonly out: number }> {
  const info = await redis.info('stats');
  const of = (name: string): number => Number(new RegExp(`total_net_${name}_bytes:(\\d+)`).exec(info)![1]);
  return { in: of('input'), out: of('output') };
}

/** Runs scenes-flow and returns what its updates took. Throws where the trainer does not end with status 0. */
export async function measureRound({ workers, cores, updates, url, redis, out }: RoundOptions): Promise<Round> {
  const shards = Array.from({ length: workers }, (): Shard[] => []);
  const children = Array.from({ length: workers }, (_, worker) =>
    winnow(['worker', '--redis', url, '--json'], cores[worker], (line) => {
      const { event, ...facts } = JSON.parse(line) as { event: string };
      if (event === 'shard') shards[worker]!.push({ kind: event, ...facts } as Shard);
    }),
  );
  const ends: number[] = [];
  const moved: Promise<{ readonly in: number; readonly out: number }>[] = [];
  const processor: number[] = [];
  try {
    const sets = ['eval.n=4', 'eval.rewards=[]'].flatMap((set) => ['--set', set]);
    const to = workers > 0 ? ['--workers', url] : [];
    const steps = String(first + updates);
    const args = ['train', 'scenes-flow', '--steps', steps, '--out', out, '--json', ...sets, ...to];
    const trainer = winnow(args, workers > 0 ? undefined : cores[0], (line) => {
      if ((JSON.parse(line) as { event: string }).event !== 'update') return;
      ends.push(performance.now());
      moved.push(traffic(redis));
      processor.push(processorSeconds(trainer.pid!));
    });
    let said = '';
    trainer.stderr!.on('data', (text: Buffer) => {
      said += text;
    });
    const [status] = await once(trainer, 'exit');
    if (status !== 0) throw new Error(`bench: the trainer of ${workers} workers ended with ${status}: ${said}`);
  } finally {
    await Promise.all(children.map(end));
  }
  const counted = Array.from({ length: updates }, (_, i) => first + i);
  const middle = (value: (update: number) => number): number => percentile(counted.map(value), 0.5);
  const seconds = (update: number): number => (ends[update]! - ends[update - 1]!) / 1000;
  /** Of the busiest worker. */
  const busiest = (update: number) =>
    shards
      .map((own) => partsOf(own.filter((shard) => shard.update === update)))
      .reduce((most, parts) => (total(parts) > total(most) ? parts : most), nothing);
  const all = counted.map(seconds);
  const [start, over] = await Promise.all([moved[first - 1]!, moved[first + updates - 1]!]);
  return {
    workers,
    updates,
    seconds: percentile(all, 0.5),
    range: [Math.min(...all), Math.max(...all)],
    draw: middle((update) => busiest(update).draw),
    learn: middle((update) => busiest(update).learn),
    move: middle((update) => busiest(update).move),
    rest: middle((update) => seconds(update) - total(busiest(update))),
    bytes: { in: Math.round((over.in - start.in) / updates), out: Math.round((over.out - start.out) / updates) },
    trainer: (processor[first + updates - 1]! - processor[first - 1]!) / updates,
  };
}

/** Seconds of processor time of a process so far, by Linux. */
function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' '); // the name may have spaces
  return (Number(fields[11]) + Number(fields[12])) / 100; // ticks of user and of system
}

type Parts = Shard['seconds'];
const nothing: Parts = { draw: 0, learn: 0, move: 0 };
const total = ({ draw, learn, move }: Parts): number => draw + learn + move;

function partsOf(shards: readonly Shard[]): Parts {
  const sum = (part: keyof Parts): number => shards.reduce((seconds, shard) => seconds + shard.seconds[part], 0);
  return { draw: sum('draw'), learn: sum('learn'), move: sum('move') };
}

/** Ends a worker after its shard. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const over = once(child, 'exit');
  child.kill('SIGTERM');
  await over;
}
