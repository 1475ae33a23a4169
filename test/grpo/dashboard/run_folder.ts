/** Folders of runs that never ran: files by the format, of any size. */
import { mkdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { WorkerRecord } from '../../../grpo/finetune/workers/workers_file.js';
import { encodePng, gridOf, type Picture } from '../../../models/pictures/png.js';

export interface MadeRun {
  readonly updates?: number;
  readonly status?: string;
  readonly prompt?: string;
  /** Pictures of the last group's selections, and probes. */
  readonly previews?: boolean;
}

const plain = (level: number): Picture => ({ width: 8, height: 8, rgb: new Uint8Array(3 * 64).fill(level) });

/** A line of metrics.jsonl. */
export const metricsLine = (update: number): string =>
  `${JSON.stringify({
    update,
    reward: 1 + update / 100,
    reward_std: 0.25,
    'rewards/brightness/mean': 1 + update / 100,
    'spread/all': 0.5,
    'spread/kept': 0.75,
    frac_reward_zero_std: 0,
    kl: update / 1000,
    approx_kl: 0,
    'clip_ratio/region_mean': 0.125,
    grad_norm: 0.5,
    calls: 10,
    seconds: 2,
    'seconds/sample': 1,
    'seconds/reward': 0.5,
    'seconds/train': 0.5,
  })}\n`;

/** A group of four, of which three are kept at step 1 and two at the end. */
export const groupLine = (update: number, group = 0, prompt = 'a red circle'): string =>
  `${JSON.stringify({
    update,
    group,
    prompt,
    selections: [{ step: 1, samples: [0, 1, 2, 3], rewards: [0.1, 0.4, null, 0.2], kept: [0, 1, 3] }],
    survivors: [0, 1, 3],
    rewards: [0.15, 0.45, 0.25],
    advantages: [-1, 1, 0],
  })}\n`;

/** Writes a run's folder. */
export async function makeRun(
  folder: string,
  { updates = 3, status = 'done', prompt = 'a red circle', previews = false }: MadeRun = {},
): Promise<void> {
  const numbers = Array.from({ length: updates }, (_, i) => i + 1);
  await mkdir(join(folder, 'samples'), { recursive: true });
  const info = {
    format: 1,
    status,
    versions: { winnow: '0.0.0', node: '20' },
    platform: 'linux x64',
    adapter: 'an adapter',
    configHash: 'abc',
    model: { path: 'a/model', kind: 'sd3', parameters: 1000, trainable: 10 },
    process: { pid: process.pid, host: hostname() },
    started: '2026-01-01T00:00:00.000Z',
    changed: '2026-01-01T00:00:00.000Z',
    updates,
    of: updates,
    seconds: 2 * updates,
    totals: { calls: 10 * updates, decodes: 1, trained: 1 },
    rewards: { reward: { before: 1, after: 2, low: 0.75, high: 1.25, n: 64 } },
  };
  await writeFile(join(folder, 'run.json'), JSON.stringify(info));
  await writeFile(join(folder, 'config.yaml'), 'train: { updates: 3 }\nseed: 7\n');
  await writeFile(join(folder, 'metrics.jsonl'), numbers.map(metricsLine).join(''));
  await writeFile(join(folder, 'groups.jsonl'), numbers.map((update) => groupLine(update, 0, prompt)).join(''));
  const interval = { mean: 1, low: 0.5, high: 1.5, std: 1, count: 4 };
  const evaluation = (update: number): string =>
    `${JSON.stringify({ update, seed: 0, rewards: { reward: interval }, scores: { reward: [1, 1, 1, 1] } })}\n`;
  await writeFile(join(folder, 'evaluations.jsonl'), evaluation(0) + evaluation(updates));
  await writeFile(join(folder, 'log.txt'), `begins\n${prompt}\nends\n`);
  for (const update of [0, updates])
    await writeFile(join(folder, 'samples', `${String(update).padStart(6, '0')}.png`), encodePng(plain(100)));
  if (previews) await writePreviews(folder, updates, prompt);
}

/** A worker that is idle and was seen now. */
export const madeWorker = (changes: Partial<WorkerRecord> = {}): WorkerRecord => ({
  name: 'host:1',
  adapter: 'an adapter',
  state: 'idle',
  groups: 0,
  seen: new Date().toISOString(),
  ...changes,
});

/** Writes workers.json into a run's folder. */
export async function writeWorkers(folder: string, workers: readonly WorkerRecord[]): Promise<void> {
  const file = { id: 'made', server: 'redis://queue.example:6379', workers };
  await writeFile(join(folder, 'workers.json'), JSON.stringify(file));
}

async function writePreviews(folder: string, update: number, prompt: string): Promise<void> {
  const name = `${String(update).padStart(6, '0')}_0`;
  await mkdir(join(folder, 'previews'));
  const strip = async (step: number | 'final', samples: readonly number[], rewards: readonly (number | null)[]) => {
    const file = `${name}_${step}.png`;
    const pictures = samples.map((sample) => plain(60 * sample));
    await writeFile(join(folder, 'previews', file), encodePng(gridOf(pictures, 2, 0)));
    return { file, columns: 2, samples, rewards };
  };
  const first = await strip(1, [0, 1, 2, 3], [0.1, 0.4, null, 0.2]);
  const final = await strip('final', [0, 1, 3], [0.15, 0.45, 0.25]);
  const selections = [{ step: 1, ...first, kept: [0, 1, 3] }];
  const file = { update, group: 0, prompt, size: [8, 8], selections, final };
  await writeFile(join(folder, 'previews', `${name}.json`), JSON.stringify(file));
  const probe = { update, prompt, steps: [1], previews: [[1, 2]], finals: [1, 2], kept: [0], spearman: [0.5] };
  await writeFile(join(folder, 'probes.jsonl'), `${JSON.stringify({ ...probe, variance_kept: 0.875 })}\n`);
}
