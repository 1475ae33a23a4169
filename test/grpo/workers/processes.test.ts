/** Workers as processes that are killed, stopped and replaced, a server that restarts, and a trainer that is killed: the bits stay. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { sha256Of } from '../../../engine/files.js';
import { keysUnder } from '../../../grpo/workers/redis/connection.js';
import { temporaryFolder } from '../../temporary.js';
import { winnow } from '../cli/output.js';
import { type Process, start } from '../cli/process.js';
import { testServer } from '../rewards/server.js';
import { writeTinyFile } from '../tiny_file.js';
import { missing, startRedis, type TestRedis } from './redis.js';

const folder = temporaryFolder();
const updates = 5;
const lock = 5;

/** Scores pictures by their bytes, and lets a test stand between question and answer. */
const scorer = await testServer();
/** In place of answering a POST of so many pictures, once. */
let hold: { readonly images: number; readonly take: (answer: () => void) => void } | undefined;
scorer.answers = [
  (response, { body }) => {
    const { images } = JSON.parse(body) as { images: string[] };
    const scores = images.map((image) => Number.parseInt(sha256Of(image).slice(0, 6), 16) / 2 ** 24);
    const answer = (): void => void response.end(JSON.stringify({ scores }));
    const held = hold;
    if (held?.images !== images.length) return answer();
    hold = undefined;
    held.take(answer);
  },
];

/** Pictures in a POST of the update's two groups, which are drawn together: at the second selection, and at the end. */
const [atSelection, atEnd] = [6, 4];

const sections = `lora: { rank: 2, alpha: 4, targets: attention }
reward: { mine: { weight: 1, http: "${scorer.url}", timeout_s: 30 } }
sampler: { steps: 4, kind: flow-sde }
grpo: { keep: [4, 3, 2], prune_at: [1, 2], groups_per_update: 2 }
train: { updates: ${updates}, lr: 1.0e-2, micro_batch: 4, ema: 0.9 }
workers: { shards: 1, lock_s: ${lock} }
save: { every: 1, keep: 9 }
eval: { n: 2 }
sample: { seeds: [1] }
`;

const hashes = async (run: string): Promise<string[]> => {
  const last = String(updates).padStart(6, '0');
  const files = ['adapter', 'ema', 'optimizer'].map((name) =>
    join(folder, run, 'checkpoints', last, `${name}.safetensors`),
  );
  return Promise.all(files.map(async (path) => sha256Of(await readFile(path))));
};

interface Listed {
  readonly name: string;
  readonly state: string;
}

/** The process id of a worker that is at a task. */
async function workingPid({ connection: { redis } }: TestRedis): Promise<number | undefined> {
  for await (const key of keysUnder(redis))
    if (/:workers$/.test(key))
      for (const text of Object.values(await redis.hgetall(key))) {
        const { name, state } = JSON.parse(text) as Listed;
        const pid = Number(name.split(':').at(-1));
        if (state === 'working' && isAlive(pid)) return pid; // of one that was killed its last word stands there still
      }
  return undefined;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Waits for something to be there. */
async function until<T>(find: () => Promise<T | undefined> | T | undefined, what: string): Promise<T> {
  for (let tries = 0; tries < 6000; tries++) {
    const found = await find();
    if (found !== undefined && found !== false) return found;
    await wait(5);
  }
  throw new Error(`waited for ${what}`);
}

describe.skipIf(missing !== undefined)(`processes (${missing ?? 'with a real server'})`, { timeout: 400_000 }, () => {
  /** The weights of the run without workers. */
  let expected: string[];
  let config: string;

  beforeAll(async () => {
    config = await writeTinyFile(folder, sections, 'a red circle\nthe blue cat\na cat\n', { model: 'sd3' });
    const { status, stderr } = await winnow('train', config, '--out', folder, '--name', 'alone', '--quiet');
    expect(status, stderr).toBe(0);
    expected = await hashes('alone');
  });

  const worker = (redis: TestRedis): Process => start('worker', config, '--redis', redis.url);
  const trainer = (redis: TestRedis, name: string): Process =>
    start('train', config, '--out', folder, '--name', name, '--workers', redis.url);

  test('a worker that is killed while it samples, scores, differentiates or uploads is replaced', async () => {
    const redis = await startRedis(folder);
    for (let i = 0; i < 2; i++) worker(redis);
    const run = trainer(redis, 'killed');
    const monitor = redis.connection.redis.duplicate() as unknown as {
      monitor(): Promise<{
        on(event: 'monitor', listener: (time: string, given: string[]) => void): void;
        disconnect(): void;
      }>;
    };
    const commands = await monitor.monitor();
    onTestFinished(() => commands.disconnect());
    let onBlob = (): void => {};
    commands.on('monitor', (_, [command, key]) => {
      if (command === 'set' && /:blob:/.test(key!)) onBlob();
    });
    /** Kills the worker at work; the other one has to go on within the lock, and what BullMQ takes to look. */
    const kill = async (pid: number): Promise<void> => {
      const asked = scorer.received.length;
      process.kill(pid, 'SIGKILL');
      const since = performance.now();
      worker(redis);
      await until(() => scorer.received.length > asked || undefined, 'the shard to be taken again');
      expect((performance.now() - since) / 1000).toBeLessThan(1.5 * lock + 5);
    };
    // Sampling: nothing was asked yet since the shard was taken.
    await run.until(/ 1\/5 /);
    const sampling = await until(() => workingPid(redis), 'a worker at work');
    await kill(sampling);
    /** Waits for a POST of so many pictures, which is held, and for who waits for it. */
    const held = async (images: number): Promise<{ readonly answer: () => void; readonly pid: number }> => {
      const answer = await new Promise<() => void>((take) => {
        hold = { images, take };
      });
      return { answer, pid: await until(() => workingPid(redis), 'who asks') };
    };
    // Scoring: the server has not answered.
    await run.until(/ 2\/5 /);
    const scoring = await held(atSelection);
    process.kill(scoring.pid, 'SIGKILL');
    scoring.answer();
    worker(redis);
    // Differentiating: the last scores of the update came a moment ago.
    await run.until(/ 3\/5 /);
    const differentiating = await held(atEnd);
    differentiating.answer();
    await wait(3);
    await kill(differentiating.pid);
    // Uploading: the gradient is being stored, the report is not.
    await run.until(/ 4\/5 /);
    const uploading = await held(atEnd);
    const stored = new Promise<void>((resolve) => {
      onBlob = resolve;
    });
    uploading.answer();
    await stored;
    process.kill(uploading.pid, 'SIGKILL');
    worker(redis);
    expect(await run.ended, run.printed()).toBe(0);
    expect(await hashes('killed')).toEqual(expected);
  });

  test('a worker that is stopped for longer than the lock, and goes on then, is passed over', async () => {
    const redis = await startRedis(folder);
    for (let i = 0; i < 2; i++) worker(redis);
    const run = trainer(redis, 'stopped');
    await run.until(/ 1\/5 /);
    const pid = await until(() => workingPid(redis), 'a worker at work');
    process.kill(pid, 'SIGSTOP');
    const since = performance.now();
    await run.until(/ 3\/5 /);
    expect((performance.now() - since) / 1000).toBeLessThan(1.5 * lock + 10);
    process.kill(pid, 'SIGCONT');
    expect(await run.ended, run.printed()).toBe(0);
    expect(await hashes('stopped')).toEqual(expected);
    expect(run.printed()).not.toContain('error[');
  });

  for (const keepsData of [true, false])
    test(`a server that restarts ${keepsData ? 'with' : 'without'} its data is waited for`, async () => {
      const redis = await startRedis(folder);
      for (let i = 0; i < 2; i++) worker(redis);
      const name = `restarted_${keepsData}`;
      const run = trainer(redis, name);
      await run.until(/ 1\/5 /);
      await until(() => workingPid(redis), 'a worker at work');
      await redis.restart({ keepsData, away: 5000 });
      await run.until(/ 3\/5 /);
      expect(run.printed()).toContain(`${redis.url} does not answer: waiting for it`);
      expect(run.printed()).toContain(`${redis.url} is there again`);
      await redis.restart({ keepsData });
      expect(await run.ended, run.printed()).toBe(0);
      expect(await hashes(name)).toEqual(expected);
    });

  test('a trainer that is killed goes on with the workers that it had', async () => {
    const redis = await startRedis(folder);
    const workers = [worker(redis), worker(redis)];
    const first = trainer(redis, 'resumed');
    await first.until(/ 2\/5 /);
    await until(() => workingPid(redis), 'a worker at work');
    first.child.kill('SIGKILL');
    await first.ended;
    const again = start('train', '--resume', join(folder, 'resumed'), '--workers', redis.url);
    expect(await again.ended, again.printed()).toBe(0);
    expect(await hashes('resumed')).toEqual(expected);
    for (const each of workers) {
      expect(each.child.exitCode).toBeNull();
      expect(each.printed().match(/joined/g), 'the model was loaded once').toHaveLength(1);
      each.child.kill('SIGTERM');
      expect(await each.ended).toBe(143);
    }
    expect(await redis.lasting(), 'nothing stays but what expires').toEqual([]);
  });

  test('the embedded run has the same bits with no worker, with 1, 2 and 4', async () => {
    const redis = await startRedis(folder);
    const small = ['--steps', '2', '--set', 'eval.n=2', '--set', 'eval.rewards=[]', '--set', 'sample.seeds=[1]'];
    const train = (name: string, ...more: string[]): Process =>
      start('train', 'scenes-flow', '--out', folder, '--name', name, ...small, '--set', 'workers.shards=4', ...more);
    const last = async (name: string): Promise<string[]> =>
      Promise.all(
        ['adapter', 'ema', 'optimizer'].map(async (part) =>
          sha256Of(await readFile(join(folder, name, 'checkpoints/000002', `${part}.safetensors`))),
        ),
      );
    const alone = train('none');
    expect(await alone.ended, alone.printed()).toBe(0);
    for (const count of [1, 2, 4]) {
      while (started < count) {
        start('worker', '--redis', redis.url);
        started++;
      }
      const run = train(`with${count}`, '--workers', redis.url);
      expect(await run.ended, run.printed()).toBe(0);
      expect(await last(`with${count}`), `${count} workers`).toEqual(await last('none'));
    }
  });
  let started = 0;
});
