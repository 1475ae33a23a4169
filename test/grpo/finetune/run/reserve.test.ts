/** Folders of new runs: names that are never given twice, and nothing left where no run began. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { UsageError } from '../../../../grpo/finetune/errors.js';
import { lockPath } from '../../../../grpo/finetune/run/lock.js';
import { reserveDated, reserveNamed } from '../../../../grpo/finetune/run/reserve.js';
import { temporaryFolder } from '../../../temporary.js';

const root = temporaryFolder();
const now = new Date(2026, 10, 3, 9, 5);

test('names of new runs have date, configuration and seed; those that want one at once get numbers', async () => {
  const out = join(root, 'dated', 'below');
  const all = await Promise.all(Array.from({ length: 4 }, () => reserveDated(out, 'scenes-flow', 42, now)));
  const first = join(out, '2026-11-03_09-05_scenes-flow_s42');
  const names = all.map(({ path }) => path).sort();
  expect(names).toEqual([first, ...[2, 3, 4].map((number) => `${first}_${number}`)]);
  for (const { path } of all) await writeFile(join(path, 'run.json'), '{}');
  for (const each of all) await each.release();
  expect((await reserveDated(out, 'scenes-flow', 42, now)).path).toBe(`${first}_5`);
});

test('where no run began nothing is left, nor are the folders above that were made for it', async () => {
  const out = join(root, 'empty', 'a', 'b');
  await mkdir(join(root, 'empty'));
  const [first, second] = [await reserveNamed(join(out, 'first')), await reserveNamed(join(out, 'second'))];
  await mkdir(join(first.path, 'checkpoints'));
  await first.release();
  expect(await readdir(out)).toEqual(['second']);
  await second.release();
  expect(existsSync(out)).toBe(true); // made for the first, which ended while the second was there
  const third = await reserveNamed(join(root, 'empty', 'c', 'd', 'third'));
  await third.release();
  expect(await readdir(join(root, 'empty'))).toEqual(['a']);
});

test('a run that began keeps its folder, without the lock', async () => {
  const held = await reserveNamed(join(root, 'begun'));
  await writeFile(join(held.path, 'run.json'), '{}');
  await held.release();
  expect(await readdir(held.path)).toEqual(['run.json']);
});

test('a name that is taken is refused: by a run, a file, an empty folder, or a process that has just reserved it', async () => {
  const taken = async (path: string): Promise<void> =>
    expect(reserveNamed(path)).rejects.toThrow(
      new UsageError(`${path} exists; choose another --name, or go on with --resume`),
    );
  const held = await reserveNamed(join(root, 'held'));
  await taken(held.path);
  await held.release();
  await mkdir(join(root, 'folder'));
  await taken(join(root, 'folder'));
  expect(existsSync(join(root, 'folder'))).toBe(true);
  await writeFile(join(root, 'file'), '');
  await taken(join(root, 'file'));
  await expect(reserveNamed(join(root, 'file', 'below'))).rejects.toThrow(
    /can't write .*below: a file, expected a folder/,
  );
});

test('a folder that a killed process had reserved is free again', async () => {
  const path = join(root, 'killed');
  await mkdir(path);
  const ended = { pid: process.ppid, host: 'h', place: '', token: '0'.repeat(24) };
  const held = await reserveNamed(join(root, 'place'));
  const { place } = JSON.parse(await readFile(lockPath(held.path), 'utf8'));
  await held.release();
  await writeFile(lockPath(path), JSON.stringify({ ...ended, place }));
  const again = await reserveNamed(path);
  await expect(reserveNamed(path)).rejects.toThrow('exists');
  await again.release();
  expect(existsSync(path)).toBe(false);
});
