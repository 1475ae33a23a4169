/** Folders of runs: what stands in them, taking back, lists, and disks that refuse. */
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FileError } from '../../../../engine/errors.js';
import { exists, writeWhole } from '../../../../engine/files.js';
import { formatRuns } from '../../../../grpo/cli/print/runs.js';
import { loadConfig } from '../../../../grpo/finetune/config/file.js';
import { RunFolder } from '../../../../grpo/finetune/run/folder.js';
import { hashConfig, type RunInfo } from '../../../../grpo/finetune/run/info.js';
import { findRun, listRuns } from '../../../../grpo/finetune/run/list.js';
import { holdFolder } from '../../../../grpo/finetune/run/lock.js';
import { temporaryFolder } from '../../../temporary.js';
import { madeWorker, writeWorkers } from '../../dashboard/run_folder.js';

const out = temporaryFolder();
const config = await loadConfig('scenes-flow');

const info = (changes: Partial<RunInfo> = {}): RunInfo => ({
  format: 1,
  status: 'running',
  versions: { winnow: '1', node: '20' },
  platform: 'linux x64',
  adapter: 'a',
  configHash: hashConfig(config),
  model: { path: 'm', kind: 'sd3', parameters: 10, trainable: 2 },
  process: { pid: process.pid, host: hostname() },
  started: '2026-01-01T00:00:00Z',
  changed: '2026-01-01T00:00:00Z',
  updates: 0,
  of: 40,
  seconds: 0,
  totals: { calls: 0, decodes: 0, trained: 0 },
  ...changes,
});

test('a new run has its configuration, which reads back as it was', async () => {
  const folder = join(out, 'new');
  const run = await RunFolder.create(folder, config, info());
  expect((await readdir(folder)).sort()).toEqual(['checkpoints', 'config.yaml', 'run.json', 'samples']);
  expect(await loadConfig(folder)).toEqual(config);
  await run.change({ updates: 3 });
  const again = await RunFolder.open(folder);
  expect(again.info).toMatchObject({ updates: 3, of: 40, configHash: hashConfig(config) });
  expect(run.checkpoint(20)).toBe(join(folder, 'checkpoints', '000020'));
  expect(run.sample(20)).toBe(join(folder, 'samples', '000020.png'));
  expect(run.beforeAfter).toBe(join(folder, 'samples', 'before_after.png'));
});

test('a folder that was removed under a run is not begun anew, also not once something was written there again', async () => {
  const run = await RunFolder.create(join(out, 'removed'), config, info());
  await rm(run.path, { recursive: true });
  const gone = /^can't write .*run\.json: no such file or folder/;
  await expect(run.change({ updates: 1 })).rejects.toThrow(gone);
  expect(await exists(run.path)).toBe(false);
  await writeWhole(run.sample(1), 'a picture');
  await expect(run.change({ updates: 2 })).rejects.toThrow(gone);
});

test('records of updates that will be done again are dropped, also half a line', async () => {
  const run = await RunFolder.create(join(out, 'rewound'), config, info());
  await run.append('metrics', [{ update: 1 }, { update: 2 }]);
  await run.append('metrics', [{ update: 3 }]);
  await run.append('groups', [{ update: 2 }, { update: 3 }]);
  await writeFile(run.sample(2), '');
  await writeFile(run.sample(3), '');
  await writeFile(join(run.path, 'metrics.jsonl'), '{"update": 3, "rew', { flag: 'a' });
  await run.rewind(2);
  expect(await readFile(join(run.path, 'metrics.jsonl'), 'utf8')).toBe('{"update":1}\n{"update":2}\n');
  expect(await run.read('groups')).toEqual([{ update: 2 }]);
  expect(await run.read('evaluations')).toEqual([]);
  expect(await readdir(join(run.path, 'samples'))).toEqual(['000002.png']);
});

test('checkpoints are found by their number of updates', async () => {
  const run = await RunFolder.create(join(out, 'checked'), config, info());
  await expect(run.findCheckpoint()).rejects.toThrow('expected a checkpoint, found none');
  for (const n of [20, 40]) await mkdir(run.checkpoint(n));
  await mkdir(`${run.checkpoint(60)}.12.part`);
  expect(await run.findCheckpoint()).toBe(run.checkpoint(40));
  expect(await run.findCheckpoint(20)).toBe(run.checkpoint(20));
  await expect(run.findCheckpoint(30)).rejects.toThrow('expected one after 30 updates, found 20, 40');
});

test('runs are listed by their start; one that is marked as running but that nobody holds has failed', async () => {
  const folder = join(out, 'list');
  const rewards = { reward: { before: 0.4, after: 0.6, low: 0.1, high: 0.3, n: 64 } };
  await RunFolder.create(join(folder, 'b'), config, info({ started: '2026-01-02' }));
  await RunFolder.create(join(folder, 'a'), config, info({ started: '2026-01-03', status: 'done', rewards }));
  await RunFolder.create(join(folder, 'c'), config, info({ started: '2026-01-01' }));
  const hold = await holdFolder(join(folder, 'c'));
  await mkdir(join(folder, 'other'));
  const runs = await listRuns(folder);
  expect(runs.map(({ folder: each, info: { status } }) => `${each.at(-1)} ${status}`)).toEqual([
    'c running',
    'b failed',
    'a done',
  ]);
  expect(formatRuns(folder, runs)).toEqual([
    'run  status   updates  time  reward, interval of the difference',
    'c    running  0/40     0 s',
    'b    failed   0/40     0 s   its process has ended without a word',
    'a    done     0/40     0 s   0.400 -> 0.600  (0.100 to 0.300)',
  ]);
  expect(formatRuns('nowhere', await listRuns(join(out, 'nowhere')))).toEqual(['no runs in nowhere']);
  await hold.release();
  expect((await listRuns(folder))[0]!.info).toMatchObject({ status: 'failed', exit: { code: 137 } });
});

test('runs say how many work on them, or worked, in a list where some have workers', async () => {
  const folder = join(out, 'workers');
  const paths = ['a', 'b', 'c', 'd'].map((name) => join(folder, name));
  for (const [i, path] of paths.entries())
    await RunFolder.create(path, config, info({ started: `2026-01-0${i + 1}`, status: i < 2 ? 'running' : 'done' }));
  const holds = [await holdFolder(paths[0]!), await holdFolder(paths[1]!)];
  const workers = [
    madeWorker({ state: 'working', groups: 8 }),
    madeWorker({ state: 'loading' }),
    madeWorker({ state: 'idle', groups: 1 }),
    madeWorker({ state: 'aside', groups: 2 }),
    madeWorker({ state: 'refused' }),
    madeWorker({ state: 'silent', groups: 3 }),
    madeWorker({ state: 'left', groups: 1 }),
  ];
  for (const path of [paths[0]!, paths[2]!]) await writeWorkers(path, workers);
  await writeFile(join(paths[3]!, 'workers.json'), 'no JSON');
  await writeWorkers(paths[1]!, []);
  const runs = await listRuns(folder);
  expect(formatRuns(folder, runs)).toEqual([
    'run  status   updates  time  workers  reward, interval of the difference',
    'a    running  0/40     0 s   3',
    'b    running  0/40     0 s   0',
    'c    done     0/40     0 s   5',
    'd    done     0/40     0 s',
  ]);
  expect(runs.map((run) => run.workers?.workers.map(({ state }) => state))).toEqual([
    workers.map(({ state }) => state),
    [],
    ['left', 'left', 'left', 'left', 'refused', 'silent', 'left'],
    undefined,
  ]);
  for (const hold of holds) await hold.release();
  expect(formatRuns(folder, await listRuns(folder))[1]).toMatch(/^a +failed +0\/40 +0 s +5 /);
});

test('a folder without run.json, or with a broken one, is no run', async () => {
  expect(await findRun(join(out, 'nothing'))).toBeUndefined();
  await expect(RunFolder.open(join(out, 'nothing'))).rejects.toThrow('no run: expected a folder with run.json');
  await mkdir(join(out, 'broken'));
  await writeFile(join(out, 'broken', 'run.json'), '{"format": 7}');
  await expect(RunFolder.open(join(out, 'broken'))).rejects.toThrow(/run\.json: not a run: format: 7, expected 1/);
});

test.runIf(process.platform === 'linux')(
  'a full disk is an error with path and reason; what was there stays',
  async () => {
    const run = await RunFolder.create(join(out, 'full'), config, info());
    await symlink('/dev/full', join(run.path, 'metrics.jsonl'));
    await symlink('/dev/full', join(run.path, 'log.txt'));
    const message = (name: string) => `can't write ${join(run.path, name)}: no space left on the disk (ENOSPC)`;
    await expect(run.append('metrics', [{ update: 1 }])).rejects.toThrow(new FileError(message('metrics.jsonl')));
    expect(() => run.log('a line')).toThrow(message('log.txt'));

    const path = join(run.path, 'whole.txt');
    await writeWhole(path, 'old');
    await symlink('/dev/full', `${path}.${process.pid}.part`);
    await expect(writeWhole(path, 'new')).rejects.toThrow('no space left on the disk');
    expect(await readFile(path, 'utf8')).toBe('old');
    expect((await readdir(run.path)).filter((name) => name.endsWith('.part'))).toEqual([]);
  },
);
