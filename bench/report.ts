/** What a benchmark run prints and stores: statistics of samples, one line a result, and the comparison with a stored run. */

import type { AdapterInfo } from '../engine/driver/adapter.js';
import type { Peaks } from '../engine/tuning/peak.js';
import type { DType } from '../kernels/kernel.js';

/** Milliseconds of one run of a case, over all rounds. */
export interface Timing {
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
  readonly rounds: number;
}

export interface Result {
  readonly op: string;
  readonly shape: string;
  readonly dtype: DType;
  /** Arithmetic of one run; where it is absent, the case is bound by `bytes`. */
  readonly flops?: number;
  /** Bytes that must be read and written in one run. */
  readonly bytes?: number;
  readonly dispatches: number;
  /** Sum of the dispatches' times by timestamps; absent where the adapter has none. */
  readonly gpu?: Timing;
  /** From the call of run() until the queue is empty. */
  readonly wall: Timing;
  /** Largest difference from the reference, relative to its root mean square. */
  readonly error: number;
}

/** A cost of the host alone, by benchmark.js. */
export interface HostResult {
  readonly name: string;
  /** Mean microseconds. */
  readonly mean: number;
  /** Relative margin of error of the mean, in percent (95 % confidence). */
  readonly margin: number;
}

/** One run of `npm run bench`, as stored by --json. */
export interface Report {
  readonly date: string;
  readonly node: string;
  readonly cpu: string;
  readonly adapter: AdapterInfo;
  readonly peaks: Peaks;
  readonly results: readonly Result[];
  readonly host: readonly HostResult[];
}

/** The value below which a share `p` (0 to 1) of the samples lies, interpolated between the two nearest. Throws without samples. */
export function percentile(samples: readonly number[], p: number): number {
  if (samples.length === 0) throw new Error('percentile: no samples');
  const sorted = [...samples].sort((a, b) => a - b);
  const position = p * (sorted.length - 1);
  const below = Math.floor(position);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (position - below) * (sorted[above]! - sorted[below]!);
}

/** Median and spread of samples in milliseconds. */
export function summarize(samples: readonly number[]): Timing {
  return {
    median: percentile(samples, 0.5),
    p10: percentile(samples, 0.1),
    p90: percentile(samples, 0.9),
    rounds: samples.length,
  };
}

/** The time a result is judged by: the GPU's own where there are timestamps. */
export const timeOf = ({ gpu, wall }: Result): Timing => gpu ?? wall;

/** GFLOP/s, or GB/s for a case bound by memory, and the share of the peak. */
export function rateOf(result: Result, peaks: Peaks): { value: number; unit: 'GFLOP/s' | 'GB/s'; share: number } {
  const { median } = timeOf(result);
  const value = (result.flops ?? result.bytes ?? 0) / (median * 1e6);
  return result.flops === undefined
    ? { value, unit: 'GB/s', share: value / peaks.copy }
    : { value, unit: 'GFLOP/s', share: value / peaks.fma };
}

/** Milliseconds with three significant digits: `0.0123`, `1.23`, `123`. */
export function formatMilliseconds(ms: number): string {
  if (ms >= 100) return ms.toFixed(0);
  const digits = ms > 0 ? Math.min(4, 2 - Math.floor(Math.log10(ms))) : 2;
  return ms.toFixed(digits);
}

/** `matmul  1024x1024x1024  f32  68.1 ms (66.0..75.2)  31.5 GFLOP/s  20 % of FMA peak  llvmpipe` */
export function formatResult(result: Result, peaks: Peaks, adapter: AdapterInfo): string {
  const { median, p10, p90 } = timeOf(result);
  const { value, unit, share } = rateOf(result, peaks);
  const spread = `(${formatMilliseconds(p10)}..${formatMilliseconds(p90)})`;
  return [
    result.op.padEnd(24),
    result.shape.padEnd(32),
    result.dtype,
    `${formatMilliseconds(median).padStart(7)} ms ${spread.padEnd(16)}`,
    `${value.toFixed(value < 10 ? 2 : 1).padStart(7)} ${unit.padEnd(7)}`,
    `${(100 * share).toFixed(share < 0.1 ? 1 : 0).padStart(4)} % of ${unit === 'GB/s' ? 'copy' : 'FMA'} peak`.padEnd(
      20,
    ),
    result.gpu ? adapter.device : `${adapter.device}, wall clock`,
  ].join('  ');
}

/** How one case moved: `ratio` is the time now over the time stored, 1.3 being 30 % slower. */
export interface Change {
  readonly name: string;
  readonly before: number;
  readonly now: number;
  readonly ratio: number;
}

/** A slowdown over this ratio fails a comparison. */
export const slowdownLimit = 1.25;

const nameOf = ({ op, shape, dtype }: Result): string => `${op} ${shape} ${dtype}`;
const sameAdapter = (a: AdapterInfo, b: AdapterInfo): boolean =>
  a.device === b.device && a.description === b.description;

/**
 * Compares a run with a stored one, by medians, case by case; a case in only one of them is left out. `sameAdapter` is
 * false where device or driver differ: then the ratios say nothing about the code.
 */
export function compareReports(
  stored: Report,
  now: Report,
): { changes: Change[]; slower: Change[]; sameAdapter: boolean } {
  const before = new Map(stored.results.map((result) => [nameOf(result), result]));
  const changes = now.results.flatMap((result): Change[] => {
    const old = before.get(nameOf(result));
    if (!old) return [];
    const [a, b] = old.gpu && result.gpu ? [old.gpu, result.gpu] : [old.wall, result.wall];
    return [{ name: nameOf(result), before: a.median, now: b.median, ratio: b.median / a.median }];
  });
  const same = sameAdapter(stored.adapter, now.adapter);
  return { changes, slower: same ? changes.filter(({ ratio }) => ratio > slowdownLimit) : [], sameAdapter: same };
}

export function formatChange({ name, before, now, ratio }: Change): string {
  const mark = ratio > slowdownLimit ? '  SLOWER' : '';
  return `${name.padEnd(66)} ${formatMilliseconds(before).padStart(7)} -> ${formatMilliseconds(now).padStart(7)} ms  ${ratio.toFixed(2)}${mark}`;
}
