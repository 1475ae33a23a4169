/** Forecasts against cases worked by hand: 8 Mbit/s move a million bytes in a second. */
import { describe, expect, test } from 'vitest';
import { type ForecastInput, forecast } from '../../../grpo/workers/forecast.js';

/** Four shards of a group each, 10 s of work, 2 s for the weights, 3 s for a sum, 1 s to add it and 5 s for the step. */
const four: ForecastInput = {
  workers: 1,
  groups: 4,
  shards: 4,
  shardSeconds: 10,
  weightBytes: 2e6,
  sumBytes: 3e6,
  bitsPerSecond: 8e6,
  addSeconds: 1,
  stepSeconds: 5,
};

describe('an update', () => {
  test('of one worker does its shards one after the other', () => {
    // Weights in and out 2 + 2. Shards are done at 10, 23, 36, 49, each stored in 3 before the next; the last is fetched in 3 and
    // added in 1, the others while the worker is at the next ones.
    expect(forecast(four)).toEqual({
      workers: 1,
      shards: 4,
      rounds: 4,
      idle: 0,
      used: 1,
      seconds: { work: 40, move: 4 + 12 + 3, add: 1, step: 5 },
      total: 65,
      bytes: { in: 2e6 + 12e6, out: 2e6 + 12e6 },
      speedup: 1,
      efficiency: 1,
      limit: 'work',
    });
  });

  test('of two workers takes half the work, and moves the weights once more', () => {
    const { seconds, total, bytes, speedup, efficiency, limit, rounds } = forecast({ ...four, workers: 2 });
    // Done at 10 and 10, stored at 13 and 16; done at 23 and 26, stored at 26 and 29; the last is fetched at 32.
    expect(seconds).toEqual({ work: 20, move: 6 + 12, add: 1, step: 5 });
    expect([total, rounds, limit]).toEqual([44, 2, 'work']);
    expect(bytes).toEqual({ in: 14e6, out: 4e6 + 12e6 });
    expect(speedup).toBeCloseTo(65 / 44, 12);
    expect(efficiency).toBeCloseTo(65 / 88, 12);
  });

  test('waits for the adding where that is slower than what comes', () => {
    // Stored at 13, 16, 19 and 22, fetched by 25; the first is there at 16, then each of the four is added in 12.
    const { seconds, limit } = forecast({ ...four, workers: 4, addSeconds: 12 });
    expect(seconds).toEqual({ work: 10, move: 2 * 5 + 15, add: 16 + 48 - 25, step: 5 });
    expect(limit).toBe('add');
  });

  test('leaves workers idle that no shard is left for, which fetch nothing', () => {
    const [all, more] = [forecast({ ...four, workers: 4 }), forecast({ ...four, workers: 8 })];
    expect(more).toMatchObject({ idle: 4, used: 0.5, rounds: 1, bytes: all.bytes, seconds: all.seconds });
    expect(more.efficiency).toBeCloseTo(all.efficiency / 2, 12);
  });

  test('has its last round half empty where shards do not share out', () => {
    const { seconds, rounds, used } = forecast({ ...four, workers: 3 });
    expect([seconds.work, rounds]).toEqual([20, 2]);
    expect(used).toBeCloseTo(40 / 60, 12);
  });

  test('has smaller shards take less, and at most one for each group', () => {
    // 5 groups in 2 shards: 3 and 2, of which the first takes 10 s.
    expect(forecast({ ...four, groups: 5, shards: 2 }).seconds.work).toBeCloseTo(10 + (10 * 2) / 3, 12);
    expect(forecast({ ...four, groups: 5, shards: 2, workers: 2 }).used).toBeCloseTo(5 / 6, 12);
    expect(forecast({ ...four, groups: 3, shards: 8, workers: 8 })).toMatchObject({ shards: 3, idle: 5 });
  });

  test('has the same rounds where the work takes no time', () => {
    expect(forecast({ ...four, shardSeconds: 0, workers: 4 })).toMatchObject({ rounds: 1, used: 1, idle: 0 });
  });

  test('of several optimizer steps moves weights and sums for each', () => {
    // Weights in and out 2 + 2; sums in 4 x 3; out 4 x 3, each but the last one added while the next comes; 1 for the last.
    const [one, three] = [forecast(four), forecast({ ...four, steps: 3 })];
    expect(three.seconds).toEqual({ work: 40, move: 3 * 28, add: 3, step: 15 });
    expect(three.bytes).toEqual({ in: 3 * one.bytes.in, out: 3 * one.bytes.out });
  });

  test('by a faster network moves in less time, and nothing else changes', () => {
    const [slow, fast] = [forecast(four), forecast({ ...four, bitsPerSecond: 80e6 })];
    expect(fast.seconds.move).toBeCloseTo(0.4 + 1.2 + 0.3, 12);
    expect(fast.seconds.add).toBeCloseTo(1, 12);
    expect(fast.seconds).toMatchObject({ work: slow.seconds.work, step: slow.seconds.step });
  });
});

describe('a tree of sums', () => {
  test('moves a sum for each worker, and adds in rounds', () => {
    // Weights 2 + 4 x 2; sums in 4 x 3 and out 4 x 3; two rounds of pairs and the trainer's own.
    const { seconds, bytes } = forecast({ ...four, workers: 4, adding: 'tree' });
    expect(seconds).toEqual({ work: 10, move: 34, add: 3, step: 5 });
    expect(bytes).toEqual({ in: 2e6 + 12e6, out: 8e6 + 12e6 });
  });

  test('has a worker add its own shards before it stores anything', () => {
    // Each of two workers adds its two; one of the sums is handed on, then the trainer takes in the last.
    const { seconds, bytes } = forecast({ ...four, workers: 2, adding: 'tree' });
    expect(seconds).toEqual({ work: 20, move: 6 + 2 * 3 + 2 * 3, add: 1 + 1 + 1, step: 5 });
    expect(bytes).toEqual({ in: 2e6 + 6e6, out: 4e6 + 6e6 });
  });
});

test('no number of workers brings more than each of them alone', () => {
  for (const adding of ['trainer', 'tree'] as const)
    for (let workers = 1; workers <= 9; workers++) {
      const { efficiency, seconds, total } = forecast({ ...four, groups: 7, shards: 7, workers, adding });
      expect(efficiency).toBeLessThanOrEqual(1);
      expect(seconds.work + seconds.move + seconds.add + seconds.step).toBeCloseTo(total, 12);
    }
});

test('what makes no sense is refused', () => {
  expect(() => forecast({ ...four, workers: 0 })).toThrow('forecast: workers: expected at least 1, found 0');
  expect(() => forecast({ ...four, shards: 1.5 })).toThrow('forecast: shards: expected at least 1, found 1.5');
  expect(() => forecast({ ...four, addSeconds: -1 })).toThrow('forecast: addSeconds: expected at least 0, found -1');
  expect(() => forecast({ ...four, bitsPerSecond: 0 })).toThrow('forecast: bitsPerSecond: expected above 0, found 0');
});
