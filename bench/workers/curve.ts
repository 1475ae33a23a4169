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
  /** The least number of workers by which the work is no longer what an update waits for the longest, and what is then. */
  readonly limit?: Pick<Forecast, 'workers' | 'limit'>;
  /** The least number at which less than half of each further worker comes to use. */
  readonly half?: number;
}

const counts = [1, 2, 4, 8, 16, 32, 64];

/** The curve to 64 workers; where its limit is, is looked for among all numbers up to the run's shards. */
export function curveOf(name: string, run: CurveRun, gigabits: number, adding: Adding): Curve {
  const at = (workers: number): Forecast => forecast({ ...run, workers, bitsPerSecond: 1e9 * gigabits, adding });
  const all = Array.from({ length: run.shards }, (_, i) => at(i + 1));
  const limit = all.find((point) => point.limit !== 'work');
  const half = all.find((point) => point.efficiency < 0.5);
  return {
    name,
    gigabits,
    adding,
    run,
    points: counts.map((count) => {
      const { workers, seconds, total, speedup, efficiency, limit: part, bytes } = at(count);
      return { workers, seconds, total, speedup, efficiency, limit: part, bytes };
    }),
    ...(limit && { limit: { workers: limit.workers, limit: limit.limit } }),
    ...(half && { half: half.workers }),
  };
}
