/**
 * Shards of an update: some of its groups, drawn and differentiated together. A sum of gradients adds up a shard's rows first and
 * then shard after shard, in order, wherever each was computed; so the bits of an update depend on the number of shards, and
 * not on that of machines.
 */
import { check } from '../../engine/errors.js';
import type { RunConfig } from '../config.js';
import { trainedRowCount } from '../learning/losses.js';
import type { Row } from '../learning/rows.js';
import { stagesOf, survivorsOf } from '../rollout/stages.js';

/** Groups of an update from `first` to before `end`. */
export interface Shard {
  readonly first: number;
  readonly end: number;
}

/** Even shards of so many groups, `shards` at most and one group each at least. */
export function shardsOf(groups: number, shards: number): Shard[] {
  const count = Math.min(groups, shards);
  const start = (shard: number): number => Math.round((shard * groups) / count);
  return Array.from({ length: count }, (_, shard) => ({ first: start(shard), end: start(shard + 1) }));
}

/** Numbers of groups in even shards of so many. */
export const shardSizes = (groups: number, shards: number): number[] =>
  shardsOf(groups, shards).map(({ first, end }) => end - first);

/** Those of an update's rows that belong to a shard. */
export const rowsIn = ({ first, end }: Shard, rows: readonly Row[]): Row[] =>
  rows.filter(({ group }) => group >= first && group < end);

type RowKeys = Pick<RunConfig, 'sampler' | 'grpo' | 'train' | 'workers'>;

/**
 * Rows in one forward and backward: `train.micro_batch` at most, and so many that the rows of the largest shard are shared out
 * evenly. Throws a CheckError for micro-batches without rows.
 */
export function microBatchOf({ sampler, grpo, train, workers }: RowKeys): number {
  const { micro_batch: most } = train;
  check(Number.isInteger(most) && most > 0, `train.micro_batch: expected at least 1, found ${most}`);
  const groups = shardSizes(grpo.groups_per_update, workers.shards);
  const survivors = survivorsOf(stagesOf({ sampler, grpo }));
  const rows = Math.max(1, Math.max(...groups) * survivors * trainedRowCount({ sampler, grpo }));
  return Math.ceil(rows / Math.ceil(rows / most));
}
