/** Many updates of the tiniest run: no byte of GPU memory more, no trend of the process's memory, files that stay few. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { packageRoot } from '../../engine/version.js';
import { loadModel, train } from '../../grpo/finetune/index.js';
import type { SoakOptions, SoakResult } from './soak.js';

/** Slope of a straight line through values at places 0, 1, ... (least squares). */
function slopeOf(values: readonly number[]): number {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const [over, under] = values.reduce(
    ([a, b], value, i) => [a + (i - middle) * (value - mean), b + (i - middle) ** 2],
    [0, 0],
  );
  return over / under;
}

/** `count` updates. */
export async function soakLong({ count, folder, log }: SoakOptions): Promise<SoakResult> {
  const model = await loadModel(join(packageRoot(), 'test/fixtures/pipelines/sd1'), {
    lora: { rank: 1 },
    weights: 'f32',
  });
  const run = join(folder, 'long');
  const used = (): number => model.device.memory().liveBytes + model.device.memory().plannedBytes;
  const rss: number[] = [];
  let settled: number | undefined;
  let grown = 0;
  const config = {
    sampler: { steps: 2, eval_steps: 1 },
    grpo: { keep: [2], prune_at: [], prune: 'none' as const, groups_per_update: 1 },
    train: { lr: 1e-4, micro_batch: 2 },
    save: { every: 100, keep: 2 },
    sample: { seeds: [1] },
    eval: { n: 1 },
  };
  const rewards = { green: (images: readonly { rgb: Uint8Array }[]) => images.map(({ rgb }) => rgb[1]! / 255) };
  for await (const event of train({ model, prompts: ['a cat'], rewards, config, updates: count, out: run })) {
    if (event.kind !== 'update') continue;
    if (event.update === Math.min(100, count >> 1)) settled = used();
    if (settled !== undefined) grown = Math.max(grown, used() - settled);
    if (event.update % Math.max(1, Math.floor(count / 200)) === 0) rss.push(process.memoryUsage().rss);
    if (event.update % 1000 === 0) log(`long ${event.update}/${count}, ${(rss.at(-1)! / 1e6).toFixed(0)} MB of memory`);
  }
  const late = rss.slice(Math.floor(rss.length / 4)); // once caches are full
  const trend = slopeOf(late) * late.length;
  const names = await readdir(run, { recursive: true });
  const metrics = await stat(join(run, 'metrics.jsonl'));
  model.close();
  const failures: string[] = [];
  if (grown !== 0) failures.push(`${grown} bytes of GPU memory more than after the first updates`);
  // A line's bytes times the updates would be 10 MB for each 1 kB that an update keeps.
  if (count >= 1000 && trend > 0.1 * late[0]!)
    failures.push(`the process's memory grew by ${(trend / 1e6).toFixed(1)} MB`);
  const checkpoints = names.filter((name) => /^checkpoints.\d+$/.test(name)).length;
  if (checkpoints > 2) failures.push(`${checkpoints} checkpoints are kept, expected 2`);
  const left = names.filter((name) => /\.(part|old|tmp)$/.test(name));
  if (left.length > 0) failures.push(`left behind: ${left.join(', ')}`);
  const figures = {
    gpuBytes: grown,
    rssTrendMB: trend / 1e6,
    rssMB: rss.at(-1)! / 1e6,
    metricsBytesPerUpdate: metrics.size / count,
  };
  return { cases: count, failures, figures };
}
