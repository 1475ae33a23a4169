/** Shards of an update, and the micro-batches that their rows are shared out into. */
import { expect, test } from 'vitest';
import { microBatchOf, shardsOf } from '../../grpo/shards/shards.js';
import { tinyConfig } from './tiny.js';

test('shards are even, in order, of one group at least, and as many as are asked for', () => {
  expect(shardsOf(4, 8)).toEqual([0, 1, 2, 3].map((first) => ({ first, end: first + 1 })));
  expect(shardsOf(48, 1)).toEqual([{ first: 0, end: 48 }]);
  for (const [groups, shards] of [
    [48, 8],
    [5, 2],
    [7, 3],
    [1, 8],
    [100, 64],
  ] as const) {
    const made = shardsOf(groups, shards);
    expect(made).toHaveLength(Math.min(groups, shards));
    expect([made[0]!.first, made.at(-1)!.end]).toEqual([0, groups]);
    for (const [i, { first }] of made.entries()) if (i > 0) expect(first).toBe(made[i - 1]!.end);
    const sizes = made.map(({ first, end }) => end - first);
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
  }
});

test('a micro-batch has an even share of the largest shard, and no more rows than are allowed', () => {
  // 3 survivors of 4 trained steps: 12 rows a group.
  const rows = (micro_batch: number, groups: number, shards: number): number =>
    microBatchOf(tinyConfig({ grpo: { groups_per_update: groups }, train: { micro_batch }, workers: { shards } }));
  expect(rows(4, 2, 2)).toBe(4);
  expect(rows(5, 2, 2)).toBe(4); // 12 = 3 x 4
  expect(rows(144, 2, 2)).toBe(12);
  expect(rows(144, 2, 1)).toBe(24);
  expect(rows(20, 5, 2)).toBe(18); // the larger shard has 3 groups: 36 = 2 x 18
  expect(() => rows(0, 2, 2)).toThrow('train.micro_batch: expected at least 1, found 0');
});
