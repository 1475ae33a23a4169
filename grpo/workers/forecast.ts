/**
 * What workers bring before there are any: an update's seconds and bytes with so many of them, by arithmetic alone.
 *
 * The model: all workers are of one speed and begin together; Redis stands on a machine of its own, whose link carries so many bits
 * a second each way and is shared by all, so that what several move at once takes as long as one after the other. An update is,
 * as it is in the product:
 *
 * 1. the trainer stores the weights, and each worker that has work fetches them;
 * 2. workers take shards in order, each when it is free, and store each shard's sum before they take the next;
 * 3. the trainer fetches the sums in the shards' order, each as soon as it is there, and the next while it adds one;
 * 4. it takes the optimizer's step.
 *
 * With several optimizer steps, or a tree of sums, 3 begins when 2 has ended.
 *
 * Tasks and reports, some kB, are left out; so are what workers need once (compiling, the model's files) and pictures to look at.
 */
import { check } from '../../engine/errors.js';
import { type Shard, shardsOf } from '../shards/shards.js';

/** Where a run's shards are added up: all by the trainer, as the product does, or by workers in pairs of neighbours first. */
export type Adding = 'trainer' | 'tree';

export interface ForecastInput {
  readonly workers: number;
  /** Groups of an update, and the shards that they are in: each has a group at least. */
  readonly groups: number;
  readonly shards: number;
  /** Optimizer steps of an update: each has its own weights and sums. Default 1. */
  readonly steps?: number;
  /** Seconds in which a worker draws and differentiates the largest shard; smaller ones take less by their groups. */
  readonly shardSeconds: number;
  readonly weightBytes: number;
  /** Bytes of the sum of one shard. */
  readonly sumBytes: number;
  /** Bits a second of the link of Redis's machine, each way. */
  readonly bitsPerSecond: number;
  /** Seconds for which a machine itself is busy with one sum: it is received, checked, written to the device, added. */
  readonly addSeconds: number;
  /** Seconds for which the trainer is busy with an optimizer step: that, the weights read and stored, and what is left of an update. */
  readonly stepSeconds: number;
  /**
   * Default `trainer`. The product has no `tree`: it would hand each worker shards that are neighbours, which it adds by itself, and
   * then have neighbours among the workers add theirs in rounds, half as many each time, until the trainer takes in one sum. An
   * order of its own, so bits of its own, as independent of the number of workers as those of now.
   */
  readonly adding?: Adding;
}

/** Seconds of an update by what is waited for. */
export interface PartSeconds {
  /** Drawing and differentiating. */
  readonly work: number;
  /** Moving bytes, as far as nothing else goes on. */
  readonly move: number;
  /** Adding sums, as far as nothing else goes on. */
  readonly add: number;
  readonly step: number;
}

export type Part = keyof PartSeconds;

export interface Forecast {
  readonly workers: number;
  readonly shards: number;
  /** How often a worker takes a shard in an update, at most. */
  readonly rounds: number;
  /** Workers that no shard is left for. */
  readonly idle: number;
  /** Share of the workers' time in which they work while any of them does, from 0 to 1. */
  readonly used: number;
  readonly seconds: PartSeconds;
  /** Seconds of an update: the sum of the parts. */
  readonly total: number;
  /** Bytes of an update into Redis and out of it. */
  readonly bytes: { readonly in: number; readonly out: number };
  /** Times the pace of one worker, and that for each worker: 1 where two are twice as fast. */
  readonly speedup: number;
  readonly efficiency: number;
  /** The part that takes the longest. */
  readonly limit: Part;
}

/** Who takes what: shards in order, each by the worker that is free first. */
interface Schedule {
  /** The worker of each shard. */
  readonly takenBy: readonly number[];
  /** Groups and shards of the busiest. */
  readonly groups: number;
  readonly rounds: number;
}

function schedule(shards: readonly Shard[], workers: number): Schedule {
  const groups = new Array<number>(workers).fill(0);
  const taken = new Array<number>(workers).fill(0);
  const takenBy = shards.map(({ first, end }) => {
    const next = groups.indexOf(Math.min(...groups));
    groups[next]! += end - first;
    taken[next]!++;
    return next;
  });
  return { takenBy, groups: Math.max(...groups), rounds: Math.max(...taken) };
}

/**
 * When the trainer has added the last sum, in seconds from when the first worker begins: each of `seconds` is one shard's work, a
 * sum is moved in `move` seconds each way, one after the other, and added in `add`.
 */
function addedAt(seconds: readonly number[], { takenBy }: Schedule, move: number, add: number): number {
  const byWorker = new Map<number, number[]>();
  for (const [shard, worker] of takenBy.entries()) byWorker.set(worker, [...(byWorker.get(worker) ?? []), shard]);
  /** Shards at work with when they are done, the first at the end. */
  const atWork: { readonly shard: number; readonly end: number }[] = [];
  const begin = (worker: number, now: number): void => {
    const shard = byWorker.get(worker)!.shift();
    if (shard === undefined) return;
    const end = now + seconds[shard]!;
    const place = atWork.findLastIndex((other) => other.end > end || (other.end === end && other.shard > shard));
    atWork.splice(place + 1, 0, { shard, end });
  };
  for (const worker of [...byWorker.keys()]) begin(worker, 0);
  const stored: number[] = [];
  let linkIn = 0;
  for (let done = atWork.pop(); done; done = atWork.pop()) {
    linkIn = Math.max(linkIn, done.end) + move;
    stored[done.shard] = linkIn;
    begin(takenBy[done.shard]!, linkIn);
  }
  let [linkOut, added] = [0, 0];
  for (const shard of seconds.keys()) {
    linkOut = Math.max(linkOut, stored[shard]!) + move;
    added = Math.max(added, linkOut) + add;
  }
  return added;
}

/**
 * Forecasts an update. Throws a CheckError for counts below 1, shards above groups aside, which are cut as those of a run are, and
 * for negative seconds and bytes.
 */
export function forecast(input: ForecastInput): Forecast {
  const parts = partsOf(input);
  const alone = input.workers === 1 ? parts : partsOf({ ...input, workers: 1 });
  const [total, one] = [sumOf(parts.seconds), sumOf(alone.seconds)];
  const speedup = one / total;
  const names = Object.keys(parts.seconds) as Part[];
  return {
    ...parts,
    workers: input.workers,
    total,
    speedup,
    efficiency: speedup / input.workers,
    limit: names.reduce((most, name) => (parts.seconds[name] > parts.seconds[most] ? name : most)),
  };
}

const sumOf = ({ work, move, add, step }: PartSeconds): number => work + move + add + step;

function partsOf(input: ForecastInput) {
  const { workers, groups, steps = 1, shardSeconds, weightBytes, sumBytes, bitsPerSecond, adding = 'trainer' } = input;
  for (const [name, count] of Object.entries({ workers, groups, shards: input.shards, steps }))
    check(Number.isInteger(count) && count > 0, `forecast: ${name}: expected at least 1, found ${count}`);
  const { addSeconds, stepSeconds } = input;
  for (const [name, value] of Object.entries({ shardSeconds, weightBytes, sumBytes, addSeconds, stepSeconds }))
    check(value >= 0, `forecast: ${name}: expected at least 0, found ${value}`);
  check(bitsPerSecond > 0, `forecast: bitsPerSecond: expected above 0, found ${bitsPerSecond}`);

  const shards = shardsOf(groups, input.shards);
  const busy = Math.min(workers, shards.length);
  const plan = schedule(shards, workers);
  const { groups: most, rounds } = plan;
  const largest = Math.max(...shards.map(({ first, end }) => end - first));
  const secondsOf = (bytes: number): number => (8 * bytes) / bitsPerSecond;
  const sums = adding === 'tree' ? busy : shards.length; // stored, and fetched, for each step
  const fetch = secondsOf(sumBytes);
  const weights = secondsOf(weightBytes) * (1 + busy);
  const work = (shardSeconds * most) / largest;
  /** What is waited for after the work, of one optimizer step. */
  const rest = (): { readonly move: number; readonly add: number } => {
    if (adding === 'tree') return stored(treeSeconds(shards.length, busy, fetch, addSeconds));
    if (steps > 1) return stored(chain(sums, fetch, addSeconds));
    const seconds = shards.map(({ first, end }) => (shardSeconds * (end - first)) / largest);
    const [moved, added] = [0, addSeconds].map((add) => addedAt(seconds, plan, fetch, add));
    return { move: moved! - work, add: added! - moved! };
  };
  const stored = ({ move, add }: ReturnType<typeof rest>) => ({ move: sums * fetch + move, add });
  const { move, add } = rest();
  return {
    shards: shards.length,
    rounds,
    idle: workers - busy,
    used: groups / (workers * most),
    seconds: {
      work,
      move: steps * (weights + move),
      add: steps * add,
      step: steps * stepSeconds,
    },
    bytes: {
      in: steps * (weightBytes + sums * sumBytes),
      out: steps * (busy * weightBytes + sums * sumBytes),
    },
  };
}

/** So many sums, fetched one after the other, each added while the next one comes: the slower of the two is waited for. */
function chain(sums: number, fetch: number, add: number): { readonly move: number; readonly add: number } {
  return fetch > add ? { move: sums * fetch, add } : { move: fetch, add: sums * add };
}

/**
 * Sums of neighbours that workers add: those of one worker where they are, without moving, then rounds of halving, in which all
 * that are fetched share the link, and last the one that the trainer takes in.
 */
function treeSeconds(shards: number, busy: number, fetch: number, add: number) {
  const own = Math.ceil(shards / busy) - 1;
  const rounds = Math.ceil(Math.log2(busy));
  return { move: busy * fetch, add: (own + rounds + 1) * add };
}
