/** Simulated: an update of more workers than this machine has cores, by the forecast and what was measured here. */
import { type Adding, type Forecast, type ForecastInput, forecast } from '../../grpo/workers/forecast.js';

/** A run as the forecast takes it, without what the curve changes. */
export type CurveRun = Omit<ForecastInput, 'workers' | 'bitsPerSecond' | 'adding'>;

export interface Point extends Pick<Forecast, 'workers' | 'seconds' | 'total' | 'speedup' | 'efficiency' | 'limit'> {
  readonly bytes: Forecast['bytes'];
}

export interface Curve {
  readonly name: string;
  readonly gigabits: number;
  readonly adding: Adding;
  readonly run: CurveRun;
  readonly points: readonly Point[];
  /** With a group and a shard for each worker, the least number by which an update waits the longest for something else than work. */
  readonly limit?: Pick<Forecast, 'workers' | 'limit'>;
  /** The least number then of whose time less than half is made use of. */
  readonly half?: number;
}

const counts = [1, 2, 4, 8, 16, 32, 64];
const most = 1024; // workers among which the limit is looked for

/** The curve to 64 workers, and where it would end with more groups. */
export function curveOf(name: string, run: CurveRun, gigabits: number, adding: Adding): Curve {
  const among = (workers: number, counts: Partial<CurveRun> = {}): Forecast =>
    forecast({ ...run, ...counts, workers, bitsPerSecond: 1e9 * gigabits, adding });
  const all = Array.from({ length: most }, (_, i) => among(i + 1, { groups: i + 1, shards: i + 1 }));
  const limit = all.find((point) => point.limit !== 'work');
  const half = all.find((point) => point.efficiency < 0.5);
  return {
    name,
    gigabits,
    adding,
    run,
    points: counts.map((count) => {
      const { workers, seconds, total, speedup, efficiency, limit: part, bytes } = among(count);
      return { workers, seconds, total, speedup, efficiency, limit: part, bytes };
    }),
    ...(limit && { limit: { workers: limit.workers, limit: limit.limit } }),
    ...(half && { half: half.workers }),
  };
}
