/** What the trainer alone does of an update: bytes through Redis on this machine, a sum added, the optimizer's step. */
import { performance } from 'node:perf_hooks';
import { sha256Of } from '../../engine/files.js';
import { Device, moveTogether, readTogether, type Tensor, tensor, writeTogether } from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import { GradientSum } from '../../grpo/learning/gradient_sum.js';
import { OptimizerStep } from '../../grpo/learning/optimizer_step.js';
import { ratioAverages } from '../../grpo/learning/report.js';
import { Blobs, bytesOf, valuesOf } from '../../grpo/workers/redis/blobs.js';
import { connect, keysOf } from '../../grpo/workers/redis/connection.js';
import { percentile } from '../report.js';

/** Medians in seconds for so many f32 values that learn. */
export interface TrainerPace {
  readonly learned: number;
  /** Storing a sum in Redis with its hash, and fetching it with the check of that: Redis on this machine. */
  readonly store: number;
  readonly fetch: number;
  /** Hashing alone. */
  readonly hash: number;
  /** Writing a sum that is here to the device and adding it, until that is done. */
  readonly add: number;
  /** AdamW's step with the moving average, and reading the weights back. */
  readonly step: number;
}

const repeats = 6; // the first of which is not counted
const columns = 1000;

/** Measures an adapter of so many thousand values on the usual adapter. */
export async function trainerPace(url: string, thousands: number): Promise<TrainerPace> {
  const device = await Device.create({ provideDriver: true });
  const connection = await connect({ url });
  const blobs = new Blobs(connection.redis, keysOf('bench'));
  try {
    return await owning(async (own) => {
      const parts = Math.min(24, thousands);
      const rowsOf = (part: number): number => Math.round((part * thousands) / parts);
      const trainable = new Map<string, Tensor>();
      for (let i = 0; i < parts; i++) {
        const rows = rowsOf(i + 1) - rowsOf(i);
        trainable.set(`${i}`, own(tensor(device, new Float32Array(rows * columns).fill(0.5), [rows, columns])));
      }
      moveTogether([...trainable.values()]);
      const model = { device, trainable };
      const sum = own(GradientSum.create(model, ratioAverages.length));
      const optimizer = own(
        await OptimizerStep.create(model, sum, {
          train: { lr: 1e-4, weight_decay: 1e-4, betas: [0.9, 0.999], eps: 1e-8, grad_norm: 1, ema: 0.9 },
          shards: 2,
          measures: { averages: ratioAverages, departure: 'ratioDeviation' },
        }),
      );
      const seconds: Record<keyof Omit<TrainerPace, 'learned'>, number[]> = {
        store: [],
        fetch: [],
        hash: [],
        add: [],
        step: [],
      };
      for (let i = 0; i < repeats; i++) {
        const values = new Float32Array(thousands * columns).fill(1e-3 * (i + 1));
        const timed = async <R>(part: keyof typeof seconds, body: () => Promise<R> | R): Promise<R> => {
          const start = performance.now();
          const result = await body();
          if (i > 0) seconds[part].push((performance.now() - start) / 1000);
          return result;
        };
        const ref = await timed('store', () => blobs.put(bytesOf(values)));
        const bytes = await timed('fetch', () => blobs.get(ref));
        if (!bytes) throw new Error('bench: a sum is gone');
        await timed('hash', () => void sha256Of(bytes));
        await timed('add', async () => {
          writeTogether(sum.gradients, valuesOf(bytes));
          optimizer.collect();
          await sum.deviation.item(); // when it is done
        });
        await timed('step', async () => {
          await optimizer.apply(i);
          await readTogether([...trainable.values()]);
        });
        await blobs.delete([ref]);
      }
      const middle = (part: keyof typeof seconds): number => percentile(seconds[part], 0.5);
      return {
        learned: thousands * columns,
        store: middle('store'),
        fetch: middle('fetch'),
        hash: middle('hash'),
        add: middle('add'),
        step: middle('step'),
      };
    });
  } finally {
    connection.close();
    device.close();
  }
}
