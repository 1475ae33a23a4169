import { describe, expect, it } from 'vitest';
import { cases } from '../../bench/cases.js';
import { relativeError, shapeSets, spread } from '../../bench/harness.js';
import { normals } from '../../bench/ops/random.js';
import {
  compareReports,
  formatChange,
  formatMilliseconds,
  formatResult,
  percentile,
  type Report,
  type Result,
  rateOf,
  summarize,
} from '../../bench/report.js';

const adapter = { vendor: 'mesa', architecture: '', device: 'llvmpipe', description: 'Mesa 25.0.7', software: true };
const wall = (median: number) => ({ median, p10: median, p90: median, rounds: 5 });
const result = (op: string, median: number, more: Partial<Result> = {}): Result => ({
  op,
  shape: '64x64',
  dtype: 'f32',
  flops: 2e9,
  dispatches: 1,
  wall: wall(median),
  error: 0,
  ...more,
});
const report = (results: Result[], description = adapter.description): Report => ({
  date: '2026-01-01T00:00:00.000Z',
  node: 'v20.20.2',
  cpu: '2 x a CPU',
  adapter: { ...adapter, description },
  peaks: { fma: 100, copy: 20 },
  results,
  host: [],
});

describe('statistics', () => {
  it('percentiles interpolate between the two nearest samples', () => {
    expect(percentile([3, 1, 2], 0.5)).toBe(2);
    expect(percentile([1, 2, 3, 4], 0.5)).toBe(2.5);
    expect(percentile([10, 20], 0.1)).toBeCloseTo(11);
    expect(percentile([7], 0.9)).toBe(7);
    expect(() => percentile([], 0.5)).toThrow('no samples');
  });

  it('a summary has the median, the spread and the number of rounds', () => {
    const samples = Array.from({ length: 11 }, (_, i) => 10 - i);
    expect(summarize(samples)).toEqual({ median: 5, p10: 1, p90: 9, rounds: 11 });
  });

  it('samples of an output reach from its first to its last element', () => {
    expect(spread(3, 64)).toEqual([0, 1, 2]);
    const indices = spread(1 << 20, 64);
    expect(indices).toHaveLength(64);
    expect([indices[0], indices.at(-1)]).toEqual([0, (1 << 20) - 1]);
    expect(new Set(indices).size).toBe(64);
  });

  it('the error is relative to the size of what was expected, and NaN is never small', () => {
    expect(relativeError([1, 2, 3.3], [1, 2, 3])).toBeCloseTo(0.3 / Math.sqrt(14 / 3));
    expect(relativeError([0, 0], [0, 0])).toBe(0);
    expect(relativeError([1, Number.NaN], [1, 1])).toBeNaN();
  });

  it('inputs are normal deviates that repeat', () => {
    const values = normals(10_001, 7);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.05);
    expect(Math.abs(variance - 1)).toBeLessThan(0.05);
    expect(normals(8, 7)).toEqual(values.subarray(0, 8));
  });
});

describe('the cases', () => {
  it('each has a name of its own, by which runs are compared, and counts either arithmetic or bytes', () => {
    expect(new Set(cases.map(({ op, shape, dtype }) => `${op} ${shape} ${dtype}`)).size).toBe(cases.length);
    for (const { flops, bytes } of cases)
      expect([flops === undefined, bytes === undefined].filter(Boolean)).toHaveLength(1);
  });

  it('each op is timed at the shapes of both sets', () => {
    for (const set of shapeSets) {
      expect(new Set(cases.filter((entry) => entry.set === set).map(({ op }) => op))).toEqual(
        new Set(cases.map(({ op }) => op)),
      );
    }
  });
});

describe('the printed line', () => {
  it('arithmetic is compared with the FMA peak, by GPU time where there is one', () => {
    const timed = result('matmul', 100, { gpu: wall(50) });
    expect(rateOf(timed, { fma: 160, copy: 20 })).toEqual({ value: 40, unit: 'GFLOP/s', share: 0.25 });
    const line = formatResult(timed, { fma: 160, copy: 20 }, adapter);
    expect(line).toMatch(
      /^matmul +64x64 +f32 +50\.0 ms \(50\.0\.\.50\.0\) +40\.0 GFLOP\/s +25 % of FMA peak +llvmpipe$/,
    );
  });

  it('without arithmetic the bytes are compared with the copy peak, and a missing timestamp is said', () => {
    const { flops: _, ...rest } = result('add', 2);
    const line = formatResult({ ...rest, bytes: 1e7 }, { fma: 160, copy: 20 }, adapter);
    expect(line).toMatch(/2\.00 ms .* 5\.00 GB\/s +25 % of copy peak +llvmpipe, wall clock$/);
  });

  it('times have three significant digits', () => {
    expect([0.01234, 0.5, 1.234, 12.34, 123.4, 1234].map(formatMilliseconds)).toEqual([
      '0.0123',
      '0.500',
      '1.23',
      '12.3',
      '123',
      '1234',
    ]);
  });
});

describe('the comparison with a stored run', () => {
  it('more than 25 % slower on the same adapter counts as a slowdown', () => {
    const before = report([result('a', 100), result('b', 100), result('gone', 1)]);
    const { changes, slower, sameAdapter } = compareReports(
      before,
      report([result('a', 124), result('b', 130), result('new', 1)]),
    );
    expect(sameAdapter).toBe(true);
    expect(changes.map(({ ratio }) => ratio)).toEqual([1.24, 1.3]);
    expect(slower.map(({ name }) => name)).toEqual(['b 64x64 f32']);
    expect(formatChange(slower[0]!)).toMatch(/100 -> +130 ms {2}1\.30 {2}SLOWER$/);
  });

  it('another driver is no slowdown', () => {
    const { changes, slower, sameAdapter } = compareReports(
      report([result('a', 1)]),
      report([result('a', 9)], 'Mesa 26'),
    );
    expect([sameAdapter, changes.length, slower.length]).toEqual([false, 1, 0]);
  });

  it('GPU times are compared with GPU times', () => {
    const before = report([result('a', 100, { gpu: wall(10) })]);
    expect(compareReports(before, report([result('a', 50, { gpu: wall(20) })])).changes[0]?.ratio).toBe(2);
    expect(compareReports(before, report([result('a', 50)])).changes[0]?.ratio).toBe(0.5);
  });
});
