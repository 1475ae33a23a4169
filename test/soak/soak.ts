/** What the soaks share: how often, from which seed, what they found; tiny runs in processes of their own. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../engine/version.js';

export interface SoakOptions {
  /** How many cases, as each soak counts them. */
  readonly count: number;
  /** Of everything random. */
  readonly seed: number;
  /** An empty folder to work in. */
  readonly folder: string;
  readonly log: (line: string) => void;
}

export interface SoakResult {
  readonly cases: number;
  /** What went wrong, a sentence each; empty where all is well. */
  readonly failures: readonly string[];
  /** What was measured besides. */
  readonly figures?: Readonly<Record<string, number>>;
}

/** Numbers in [0, 1) that a seed fixes. (Mulberry32.) */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Updates of a tiny run. */
export const tinyUpdates = 4;

/** Writes the configuration of a tiny run, and a reward that tells when it scores; the configuration's path. */
export async function writeTinyConfig(folder: string): Promise<string> {
  const reward = join(folder, 'reward.mjs');
  await writeFile(join(folder, 'prompts.txt'), 'a red circle\nthe blue cat\n');
  await writeFile(
    reward,
    `export default async (images) => {
  process.stdout.write('phase scoring\\n');
  await new Promise((resolve) => setTimeout(resolve, 20));
  return images.map(({ rgb }) => rgb[0] + rgb[4]);
};\n`,
  );
  const path = join(folder, 'tiny.yaml');
  await writeFile(
    path,
    `model: { path: ${join(packageRoot(), 'test/fixtures/pipelines/sd1')}, weights: f32 }
lora: { rank: 2, alpha: 4 }
prompts: { train: ${join(folder, 'prompts.txt')}, test: ${join(folder, 'prompts.txt')} }
reward: { mine: { module: ${reward} } }
sampler: { steps: 3, kind: ddim, eval_steps: 2 }
grpo: { keep: [4, 2], prune_at: [1], groups_per_update: 2, updates_per_rollout: 2 }
train: { updates: ${tinyUpdates}, lr: 1.0e-2, micro_batch: 4, ema: 0.9 }
save: { every: 1, keep: 2 }
sample: { seeds: [1] }
eval: { n: 2 }
`,
  );
  return path;
}

/** How a child ended. */
export interface Ended {
  /** The status, or null where a signal ended it. */
  readonly code: number | null;
  readonly text: string;
  readonly seconds: number;
}

/**
 * Trains in a process of its own (child.ts), which tells on stdout which phase it is in. `watch` sees what it has said so far and
 * may send it signals. A child that takes longer than `limit` seconds is killed and rejects.
 */
export function runChild(
  args: readonly string[],
  watch: (text: string, kill: (signal: NodeJS.Signals) => void) => void = () => {},
  limit = 120,
): Promise<Ended> {
  const start = performance.now();
  const child = spawn(process.execPath, [...programOf('child'), ...args], {
    cwd: packageRoot(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  let late = false;
  const read = (part: Buffer): void => {
    text += part;
    watch(text, (signal) => child.kill(signal));
  };
  child.stdout.on('data', read);
  child.stderr.on('data', read);
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, 1000 * limit);
  return new Promise((resolve, reject) => {
    child.on('close', (code) => {
      clearTimeout(timer);
      if (late) reject(new Error(`a child took more than ${limit} s: ${text.slice(-2000)}`));
      else resolve({ code, text, seconds: (performance.now() - start) / 1000 });
    });
  });
}

/** Node's arguments for a program of this folder: built, or where tests run from source through vite. */
function programOf(name: string): string[] {
  const here = fileURLToPath(import.meta.url);
  if (here.endsWith('.js')) return [join(here, '..', `${name}.js`)];
  const main = `import { runnerImport } from 'vite'; await runnerImport('./test/soak/${name}.ts', { configFile: false });`;
  return ['--input-type=module', '-e', main, '--'];
}

/** What a run has learned and written, but for times: hashes by file of its last checkpoint, and its metrics. */
export async function outcomeOf(run: string): Promise<Record<string, string>> {
  const last =
    (await readdir(join(run, 'checkpoints')))
      .filter((name) => /^\d+$/.test(name))
      .sort()
      .at(-1) ?? '';
  const found: Record<string, string> = { checkpoint: last };
  for (const name of ['adapter', 'ema', 'optimizer']) {
    const bytes = await readFile(join(run, 'checkpoints', last, `${name}.safetensors`));
    found[name] = createHash('sha256').update(bytes).digest('hex');
  }
  for (const name of ['metrics', 'groups', 'evaluations']) {
    const lines = (await readFile(join(run, `${name}.jsonl`), 'utf8')).trim().split('\n');
    const timeless = lines.map((line) => {
      const entries = Object.entries(JSON.parse(line) as Record<string, unknown>);
      return JSON.stringify(entries.filter(([key]) => !key.startsWith('seconds')));
    });
    found[name] = createHash('sha256').update(timeless.join('\n')).digest('hex');
  }
  return found;
}

/** The differences of two outcomes, as a sentence; empty where there are none. */
export const differences = (expected: Record<string, string>, found: Record<string, string>): string =>
  Object.keys(expected)
    .filter((key) => expected[key] !== found[key])
    .join(', ');
