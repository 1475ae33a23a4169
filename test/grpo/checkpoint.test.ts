/** Checkpoints: a run that is killed at any moment and resumed ends where one that was not does, to the bit. */
import { spawn } from 'node:child_process';
import { cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { tensor } from '../../engine/tensor/tensor.js';
import { packageRoot } from '../../engine/version.js';
import {
  CheckpointError,
  checkpointName,
  configDifferences,
  damageOf,
  listCheckpoints,
  pruneCheckpoints,
  readCheckpoint,
  type TrainingState,
  writeCheckpoint,
} from '../../grpo/checkpoint.js';
import type { RunConfig } from '../../grpo/config.js';
import { random, testDevice } from '../check.js';
import { temporaryFolder } from '../temporary.js';
import { tinyConfig } from './tiny.js';

const device = await testDevice();
const temporary = temporaryFolder();

const updates = 5;
const seed = Number(process.env.KILL_SEED ?? Date.now() % 1e6);

/** When the child is killed: so many ms after it has loaded, or as soon as it says that an update is done. */
type Kill = number | `update ${number}\n`;

/** Runs the child up to its end, or until it is killed. Returns whether it ended by itself. */
function run(folder: string, kill?: Kill): Promise<{ ended: boolean; lines: string[] }> {
  const load =
    "import { runnerImport } from 'vite'; await runnerImport('./test/grpo/killed_run.ts', { configFile: false });";
  const child = spawn(process.execPath, ['--input-type=module', '-e', load, '--', folder, String(updates)], {
    cwd: packageRoot(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  let timer: NodeJS.Timeout | undefined;
  child.stdout.on('data', (text) => {
    out += text;
    if (typeof kill === 'string' && out.includes(kill)) child.kill('SIGKILL');
    if (typeof kill === 'number' && out.includes('from')) timer ??= setTimeout(() => child.kill('SIGKILL'), kill);
  });
  child.stderr.on('data', (text) => {
    err += text;
  });
  return new Promise((resolve, reject) => {
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code !== 0 && signal !== 'SIGKILL') reject(new Error(`exit ${code} ${signal}: ${err}`));
      else resolve({ ended: code === 0, lines: out.trim().split('\n') });
    });
  });
}

const filesOf = async (folder: string): Promise<Record<string, string>> => {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(
    await Promise.all(
      names.map(async (name) => [name, (await readFile(join(folder, name))).toString('base64')] as const),
    ),
  );
};

test('killed after a known update and at random moments, and resumed, a run ends with the same bits as one that was left alone', async () => {
  const [alone, killed] = [join(temporary, 'alone'), join(temporary, 'killed')];
  const start = performance.now();
  await run(alone);
  const whole = performance.now() - start;
  console.log(`killed at the moments of KILL_SEED=${seed}`);
  // First after the second update, so that on any machine a run goes on from the middle; then at moments all over an update
  // and the writing of its checkpoint, as shares of it.
  const moments = random([3], seed, { low: 0, high: 1 }).data;
  const kills: Kill[] = ['update 2\n', ...Array.from(moments, (moment) => moment * Math.min(whole / 4, 1500))];
  const from: string[] = [];
  for (;;) {
    const { ended, lines } = await run(killed, kills[from.length]);
    from.push(lines[0]!);
    if (ended) break;
  }
  expect(from[0]).toBe('from 0');
  expect(Number(from[1]?.slice('from '.length)), from.join(', ')).toBeGreaterThanOrEqual(2);
  const name = checkpointName(updates);
  const expected = await filesOf(join(alone, name));
  expect(Object.keys(expected)).toEqual([
    'adapter.safetensors',
    'ema.safetensors',
    'optimizer.safetensors',
    'state.json',
  ]);
  expect(await filesOf(join(killed, name)), `KILL_SEED=${seed}, resumed ${from.join(', ')}`).toEqual(expected);
  expect((await readdir(killed)).sort()).toEqual([checkpointName(updates - 1), name]);
}, 300_000); // six processes, each of which compiles everything anew

describe('files', () => {
  const config = tinyConfig() as RunConfig;
  const stateOf = (value: number, updates = 3): TrainingState => ({
    tensors: {
      adapter: new Map([['a', tensor(device, [value, 2], [2])]]),
      optimizer: new Map([['count', tensor(device, [updates], [], 'u32')]]),
    },
    counters: { updates, steps: updates },
  });
  const free = ({ tensors }: TrainingState): void => {
    for (const map of Object.values(tensors)) for (const each of map.values()) each.dispose();
  };

  test('what was written is read back, also over a checkpoint of that name', async () => {
    const folder = join(temporary, 'again', checkpointName(3));
    await mkdir(join(temporary, 'again'));
    const states = [stateOf(0.1), stateOf(0.7, 4), stateOf(0, 0)];
    for (const state of states.slice(0, 2)) await writeCheckpoint(folder, state, config);
    const read = states[2]!;
    const info = await readCheckpoint(folder, read, config);
    expect(info.counters).toEqual({ updates: 4, steps: 4 });
    expect(read.counters).toEqual({ updates: 4, steps: 4 });
    expect(Array.from(await read.tensors.adapter!.get('a')!.data())).toEqual([Math.fround(0.7), 2]);
    expect(await read.tensors.optimizer!.get('count')!.item()).toBe(4);
    expect(await readdir(join(temporary, 'again'))).toEqual([checkpointName(3)]);
    states.forEach(free);
  });

  test('a checkpoint of another configuration is refused, by what differs; how long a run is may change', async () => {
    const folder = join(temporary, 'other', checkpointName(3));
    await mkdir(join(temporary, 'other'));
    const state = stateOf(1);
    await writeCheckpoint(folder, state, config);
    const changed = tinyConfig({ grpo: { keep: [6, 5, 3] }, train: { updates: 7 } }) as RunConfig;
    await expect(readCheckpoint(folder, state, changed)).rejects.toThrow(
      `cannot resume ${folder}: it was made with grpo.keep [6,4,3], the configuration says [6,5,3]`,
    );
    await readCheckpoint(folder, state, tinyConfig({ train: { updates: 7 } }) as RunConfig);
    expect(configDifferences({ save: { every: 1 }, seed: 1 }, { save: { every: 2 }, seed: 2 })).toEqual([
      { key: 'seed', saved: 1, given: 2 },
    ]);
    const waiting = [{}, { rollout: { ahead: 2 } }, { rollout: { ahead: 0 } }];
    for (const saved of waiting) for (const given of waiting) expect(configDifferences(saved, given)).toEqual([]);
    expect(configDifferences({ train: {} }, { train: { eps: 1e-8 } }), 'saved before the key existed').toEqual([]);
    expect(configDifferences({ train: {} }, { train: { eps: 1e-5 } })).toHaveLength(1);
    free(state);
  });

  test('damaged files are refused by name, and nothing is changed', async () => {
    const whole = join(temporary, 'whole', checkpointName(3));
    await mkdir(join(temporary, 'whole'));
    const [state, target] = [stateOf(1), stateOf(2, 9)];
    await writeCheckpoint(whole, state, config);
    const damage = {
      'state.json': (path: string) => writeFile(path, '{'),
      'adapter.safetensors': (path: string) => truncate(path, 80),
      'optimizer.safetensors': (path: string) => rm(path),
    };
    for (const [name, harm] of Object.entries(damage)) {
      const copy = join(temporary, `harmed-${name}`);
      await cp(whole, copy, { recursive: true });
      await harm(join(copy, name));
      const error = await readCheckpoint(copy, target, config).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(CheckpointError);
      expect((error as Error).message).toContain(name);
      expect(target.counters.updates).toBe(9);
      expect(Array.from(await target.tensors.adapter!.get('a')!.data())).toEqual([2, 2]);
    }
    free(state);
    free(target);
  });

  test('every byte of a checkpoint is vouched for; one of before there were hashes is taken by its sizes', async () => {
    const whole = join(temporary, 'hashed', checkpointName(3));
    await mkdir(join(temporary, 'hashed'));
    const state = stateOf(1);
    await writeCheckpoint(whole, state, config);
    expect(await damageOf(whole)).toBeUndefined();
    const names = (await readdir(whole)).sort();
    expect(names).toEqual(['adapter.safetensors', 'optimizer.safetensors', 'state.json']);
    const copy = join(temporary, 'hashed', 'copy');
    const changed = async (name: string, change: (bytes: Buffer) => Buffer): Promise<string | undefined> => {
      await cp(whole, copy, { recursive: true });
      await writeFile(join(copy, name), change(await readFile(join(whole, name))));
      return damageOf(copy);
    };
    const flips = random([6], 7, { low: 0, high: 1 }).data;
    for (const name of names) {
      for (const share of flips) {
        const flipped = (bytes: Buffer): Buffer => {
          bytes[Math.floor(share * bytes.length)]! ^= 1 << Math.floor((share * 1e4) % 8);
          return bytes;
        };
        expect(await changed(name, flipped), `${name} at ${share}`).toContain(join(copy, name));
        expect(await changed(name, (bytes) => bytes.subarray(0, share * bytes.length))).toContain(join(copy, name));
      }
    }
    await rm(copy, { recursive: true });
    const { hash: _, hashes: __, ...old } = JSON.parse(await readFile(join(whole, 'state.json'), 'utf8'));
    const before = Buffer.from(JSON.stringify(old));
    expect(await changed('state.json', () => before)).toBeUndefined();
    expect((await readCheckpoint(copy, state, config)).counters).toEqual(state.counters);
    for (const wrong of [{ counters: {} }, { config: 1 }, { config: { train: {}, lora: {} } }, { hashes: [] }])
      expect(await changed('state.json', () => Buffer.from(JSON.stringify({ ...old, ...wrong })))).toBeDefined();
    await writeFile(join(copy, 'state.json'), before);
    await rm(join(copy, 'optimizer.safetensors'));
    expect(await damageOf(copy, ['optimizer'])).toContain('no such file');
    free(state);
  });

  test('old checkpoints and what interrupted writes left are deleted; a write that fails leaves nothing', async () => {
    const folder = join(temporary, 'many');
    await mkdir(join(folder, '000009.123.part'), { recursive: true });
    const state = stateOf(1);
    for (const n of [1, 2, 10]) await writeCheckpoint(join(folder, checkpointName(n)), state, config);
    const names = async (): Promise<string[]> => (await listCheckpoints(folder)).map((path) => path.slice(-6));
    expect(await names()).toEqual(['000001', '000002', '000010']);
    await pruneCheckpoints(folder, 2);
    expect(await readdir(folder)).toEqual(['000002', '000010']);
    state.tensors.adapter!.get('a')!.dispose();
    await expect(writeCheckpoint(join(folder, checkpointName(11)), state, config)).rejects.toThrow('disposed');
    expect(await readdir(folder)).toEqual(['000002', '000010']);
    free(state);
    expect(await listCheckpoints(join(temporary, 'nowhere'))).toEqual([]);
  });
});
