/** What `winnow plan --workers` adds to a plan: shards among workers, bytes through Redis, and an update's time where it was probed. */
import type { PlanReport } from '../finetune/plan/plan.js';
import { measuresOf } from '../learning/report.js';
import { shardSizes } from '../shards/shards.js';
import { type Forecast, forecast } from './forecast.js';

export interface WorkersPlanOptions {
  readonly workers: number;
  /** Of the link of Redis's machine, each way. */
  readonly gigabits: number;
}

/** Bytes of an update; tasks and reports, some kB, are left out. */
export interface WorkersBytes {
  /** The weights once, and the sum of one shard. */
  readonly weights: number;
  readonly sum: number;
  /** Into Redis, and out of it. */
  readonly in: number;
  readonly out: number;
}

export interface WorkersPlan extends Pick<Forecast, 'workers' | 'shards' | 'rounds' | 'idle' | 'used'> {
  readonly gigabits: number;
  /** Absent where the model folder can't be read, as what depends on it. */
  readonly bytes?: WorkersBytes;
  /** Seconds in which these bytes move. */
  readonly moveSeconds?: number;
  /** An update by the probe, without rewards. */
  readonly update?: Pick<Forecast, 'seconds' | 'total' | 'speedup' | 'efficiency' | 'limit'>;
  readonly warnings: readonly string[];
}

/**
 * Bytes a second at which a trainer without a GPU takes in a shard's sum, and at which it steps and stores the weights
 * (bench/README.md); one with a GPU is faster.
 */
export const trainerBytesPerSecond = 200e6;

/** Throws a CheckError for counts and speeds that are not above 0. */
export function planWorkers(
  { config, learned, secondsPerUpdate, groupsPerUpdate: groups }: PlanReport,
  { workers, gigabits }: WorkersPlanOptions,
): WorkersPlan {
  const { grpo } = config;
  const shards = shardSizes(groups, config.workers.shards);
  const largest = Math.max(...shards);
  const weights = 4 * (learned ?? 0);
  const sum = weights + 4 * (measuresOf(grpo).averages.length + 1);
  const { seconds, bytes, total, speedup, efficiency, limit, ...share } = forecast({
    workers,
    groups,
    shards: shards.length,
    steps: grpo.updates_per_rollout,
    shardSeconds: ((secondsPerUpdate ?? 0) * largest) / groups,
    weightBytes: weights,
    sumBytes: sum,
    bitsPerSecond: 1e9 * gigabits,
    addSeconds: sum / trainerBytesPerSecond,
    stepSeconds: weights / trainerBytesPerSecond,
  });
  const isKnown = learned !== undefined;
  return {
    ...share,
    gigabits,
    ...(isKnown && {
      bytes: { weights, sum, ...bytes },
      moveSeconds: (8 * (bytes.in + bytes.out)) / (1e9 * gigabits),
    }),
    ...(isKnown && secondsPerUpdate !== undefined && { update: { seconds, total, speedup, efficiency, limit } }),
    warnings: idleWarnings(share, config.workers.shards, groups),
  };
}

function idleWarnings(
  { workers, idle, shards }: Pick<WorkersPlan, 'workers' | 'idle' | 'shards'>,
  wanted: number,
  groups: number,
): string[] {
  if (idle === 0) return [];
  const why = wanted <= groups ? `workers.shards is ${shards}` : `grpo.groups_per_update is ${groups}`;
  return [`${idle} of ${workers} workers have nothing to do: ${why}`];
}
