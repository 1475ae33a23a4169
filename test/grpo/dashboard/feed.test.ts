/** Reading a run's folder while it grows, is cut, is huge, is deleted. */
import { appendFile, mkdir, open, rename, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ColumnStore } from '../../../grpo/dashboard/feed/columns.js';
import { GrowingFile } from '../../../grpo/dashboard/feed/growing_file.js';
import { RunFeed } from '../../../grpo/dashboard/feed/run_feed.js';
import { withAges } from '../../../grpo/dashboard/feed/workers.js';
import { holdFolder } from '../../../grpo/finetune/run/lock.js';
import { openInside, tailInside } from '../../../grpo/serve/inside.js';
import { temporaryFolder } from '../../temporary.js';
import { groupLine, madeWorker, makeRun, metricsLine, writeWorkers } from './run_folder.js';

const folder = temporaryFolder();

/** A folder with a file, and what a reader of it has read. */
async function growing(name: string) {
  const path = join(folder, name);
  await mkdir(path);
  const file = new GrowingFile(path, 'lines');
  let lines: string[] = [];
  const read = async () => {
    const isNew = await file.advance({
      restart: () => {
        lines = ['restart'];
      },
      line: (bytes) => lines.push(bytes.toString()),
    });
    return { isNew, lines };
  };
  return { path: join(path, 'lines'), read };
}

test('a growing file gives each line once, and a half line when its rest is there', async () => {
  const { path, read } = await growing('grows');
  expect(await read()).toEqual({ isNew: false, lines: [] });
  await writeFile(path, 'one\ntw');
  expect(await read()).toEqual({ isNew: true, lines: ['one'] });
  expect(await read()).toEqual({ isNew: false, lines: ['one'] });
  await appendFile(path, 'o\n\nthree');
  expect(await read()).toEqual({ isNew: true, lines: ['one', 'two', ''] });
});

test('a file that is cut or replaced is read from its start', async () => {
  const { path, read } = await growing('cut');
  await writeFile(path, 'one\ntwo\n');
  await read();
  await truncate(path, 4);
  expect(await read()).toEqual({ isNew: true, lines: ['restart', 'one'] });
  await writeFile(`${path}.new`, 'other\nlines\nmore\n');
  await rename(`${path}.new`, path);
  expect((await read()).lines).toEqual(['restart', 'other', 'lines', 'more']);
});

test('lines across the borders of what is read at once stay whole', async () => {
  const { path, read } = await growing('large');
  const lines = Array.from({ length: 7 }, (_, i) => String(i).repeat(1 << 20)).concat('x'.repeat(9 << 20), 'end');
  await writeFile(path, `${lines.join('\n')}\n`);
  const { lines: found } = await read();
  expect(found.map((line) => line.length)).toEqual(lines.map((line) => line.length));
  expect(found.every((line, i) => line === lines[i])).toBe(true);
});

test('of a log of 100 MB the tail is read in milliseconds, without memory for the rest', async () => {
  await mkdir(join(folder, 'log'));
  const file = await open(join(folder, 'log', 'log.txt'), 'w');
  const line = `${'x'.repeat(1023)}\n`.repeat(1024);
  for (let i = 0; i < 100; i++) await file.write(line);
  await file.write('the end\n');
  await file.close();
  const [start, before] = [performance.now(), process.memoryUsage().rss];
  const tail = await tailInside(join(folder, 'log'), 'log.txt', 20);
  expect(performance.now() - start).toBeLessThan(500);
  expect(process.memoryUsage().rss - before).toBeLessThan(30e6);
  expect(tail.length).toBe(20);
  expect(tail.at(-1)).toBe('the end');
});

test('links out of a folder, folders, and names with separators are no files', async () => {
  const inside = join(folder, 'inside');
  await mkdir(join(inside, 'samples'), { recursive: true });
  await writeFile(join(folder, 'secret'), 'secret');
  await writeFile(join(inside, 'own'), 'own');
  await symlink('../secret', join(inside, 'link'));
  await symlink('own', join(inside, 'short'));
  await symlink('..', join(inside, 'up'));
  for (const names of [
    ['link'],
    ['short'],
    ['up', 'secret'],
    ['samples'],
    ['..', 'secret'],
    ['../secret'],
    ['a\0b'],
    [''],
  ])
    expect(await openInside(inside, ...names), names.join('/')).toBeUndefined();
  const file = await openInside(inside, 'own');
  expect(await file?.readFile('utf8')).toBe('own');
  await file?.close();
});

test('a folder of a run that is a link itself is read', async () => {
  await makeRun(join(folder, 'elsewhere'));
  await symlink('elsewhere', join(folder, 'linked'));
  const feed = new RunFeed(join(folder, 'linked'));
  await feed.refresh();
  expect(feed.metrics.length).toBe(3);
});

test('columns of records: gaps are null, axes are sums, thinned rows are records with the first and newest', () => {
  const store = new ColumnStore();
  for (let i = 1; i <= 1001; i++)
    store.add({ update: i, seconds: 2, calls: 3, ...(i > 500 && { late: i }), text: 'no' });
  store.add({ nothing: 1 });
  expect(store.length).toBe(1001);
  const thinned = store.thinned(300);
  const updates = thinned['x/update']!;
  expect(updates.length).toBeLessThanOrEqual(301);
  expect([updates[0], updates[1], updates.at(-1)]).toEqual([1, 5, 1001]);
  expect(thinned['x/seconds']!.map((seconds) => seconds! / 2)).toEqual(updates);
  expect(thinned['x/calls']!.at(-1)).toBe(3003);
  expect(thinned.late!.slice(0, 2)).toEqual([null, null]);
  expect(thinned.late!.at(-1)).toBe(1001);
  expect(thinned.text).toBeUndefined();
  expect(store.from(1000)['x/update']).toEqual([1001]);
});

test('a run is read as it grows, over a cut line, and from its start when it is resumed', async () => {
  const path = join(folder, 'run');
  await makeRun(path, { previews: true });
  const feed = new RunFeed(path);
  await feed.refresh();
  expect(feed.summary).toMatchObject({ updates: 3, groups: 3, newestGroup: 2, samples: [0, 3], gone: false });
  expect(feed.summary.previews).toEqual([{ update: 3, group: 0, index: 2 }]);
  expect(feed.summary.log).toEqual(['begins', 'a red circle', 'ends']);
  expect(feed.summary.config?.changes.length).toBeGreaterThan(0);
  expect(feed.evaluations.map(({ update, scores }) => [update, scores])).toEqual([
    [0, undefined],
    [3, undefined],
  ]);
  expect(feed.probes).toEqual([
    { update: 3, prompt: 'a red circle', steps: [1], spearman: [0.5], variance_kept: 0.875 },
  ]);
  const group = await feed.group(2);
  expect(group).toMatchObject({ record: { update: 3, survivors: [0, 1, 3] }, previews: { final: { columns: 2 } } });
  expect((await feed.group(0))?.previews).toBeNull();
  expect([await feed.group(3), await feed.group(-1)]).toEqual([undefined, undefined]);

  const before = feed.version;
  await appendFile(join(path, 'metrics.jsonl'), metricsLine(4).slice(0, 40));
  await appendFile(join(path, 'groups.jsonl'), groupLine(4));
  await feed.refresh();
  expect(feed.version).toEqual({ ...before, summary: before.summary + 1 });
  await appendFile(join(path, 'metrics.jsonl'), metricsLine(4).slice(40));
  await feed.refresh();
  expect(feed.version.rows).toBe(4);
  expect(feed.metrics.from(3).reward).toEqual([1.04]);

  await writeFile(join(path, 'metrics.new'), metricsLine(1) + metricsLine(2));
  await rename(join(path, 'metrics.new'), join(path, 'metrics.jsonl'));
  await feed.refresh();
  expect(feed.version).toMatchObject({ rows: 2, generation: before.generation + 1 });
});

test('a run whose folder is deleted is told to be gone, with what was last read', async () => {
  const path = join(folder, 'deleted');
  await makeRun(path);
  const feed = new RunFeed(path);
  await feed.refresh();
  await rm(path, { recursive: true });
  await feed.refresh();
  expect(feed.summary).toMatchObject({ gone: true, updates: 3, info: { adapter: 'an adapter' } });
  expect(feed.metrics.length).toBe(3);
  expect(await feed.group(0)).toBeUndefined();
});

test('workers are read as their file changes; when nobody trains the run they have left', async () => {
  const path = join(folder, 'worked');
  await makeRun(path, { status: 'running' });
  const hold = await holdFolder(path);
  const feed = new RunFeed(path);
  const states = async () => {
    await feed.refresh();
    return feed.workers?.workers.map(({ state }) => state);
  };
  expect([await states(), feed.version.workers]).toEqual([undefined, 0]);
  const workers = [
    madeWorker({ state: 'working', groups: 3 }),
    madeWorker({ state: 'aside', reason: 'tired' }),
    madeWorker({ state: 'refused' }),
    madeWorker({ state: 'silent' }),
  ];
  await writeWorkers(path, workers);
  const before = feed.version;
  expect(await states()).toEqual(['working', 'aside', 'refused', 'silent']);
  expect(feed.version).toEqual({ ...before, workers: 1 });
  expect([await states(), feed.version.workers]).toEqual([['working', 'aside', 'refused', 'silent'], 1]);
  expect(feed.workers).toMatchObject({ server: 'redis://queue.example:6379' });
  expect(feed.workers).not.toHaveProperty('id');
  expect(feed.workers!.workers[0]).toEqual({ ...workers[0], seen: Date.parse(workers[0]!.seen) });
  await hold.release();
  expect([await states(), feed.version.workers]).toEqual([['left', 'left', 'refused', 'silent'], 2]);
});

test('a file of workers that is none, or is a link out of the run, counts as absent', async () => {
  const path = join(folder, 'no_workers');
  await makeRun(path);
  const feed = new RunFeed(path);
  const file = join(path, 'workers.json');
  const others = [madeWorker({ state: 'tired' as 'idle' }), madeWorker({ groups: -1 })];
  for (const text of ['{"workers": ', '[]', ...others.map((worker) => JSON.stringify({ workers: [worker] }))]) {
    await writeFile(file, text);
    await feed.refresh();
    expect(feed.workers, text).toBeUndefined();
  }
  await rm(file);
  await writeWorkers(folder, [madeWorker()]);
  await symlink('../workers.json', file);
  await feed.refresh();
  expect(feed.workers).toBeUndefined();
});

test("ages of workers are right by a server's clock that is an hour early or late, too", async () => {
  const path = join(folder, 'clocks');
  await makeRun(path, { status: 'running' });
  const hold = await holdFolder(path);
  const feed = new RunFeed(path);
  const now = Date.now();
  for (const early of [0, 3600, -3600]) {
    const seen = (ago: number) => new Date(now - 1000 * (ago + early)).toISOString();
    await writeWorkers(path, [madeWorker({ seen: seen(4) }), madeWorker({ state: 'silent', seen: seen(64) })]);
    await utimes(join(path, 'workers.json'), (now - 4000) / 1000, (now - 4000) / 1000);
    await feed.refresh();
    const ages = withAges(feed.workers, now)!.workers.map(({ ago }) => Math.round(ago));
    expect(ages, `${early} seconds early`).toEqual([4, 64]);
  }
  // Where nobody is there, the time of the file says nothing: it may have been copied.
  await writeWorkers(path, [madeWorker({ state: 'left', seen: new Date(now - 90_000).toISOString() })]);
  await feed.refresh();
  expect(withAges(feed.workers, now)!.workers[0]!.ago).toBe(90);
  expect(withAges(feed.workers, now - 95_000)!.workers[0]!.ago).toBe(0);
  await hold.release();
});

test('10000 updates with 80000 groups are read in seconds, and sent in a fraction of one', async () => {
  const path = join(folder, 'long');
  await makeRun(path, { updates: 10_000 });
  const groups = await open(join(path, 'groups.jsonl'), 'w');
  for (let update = 1; update <= 10_000; update++)
    await groups.write(Array.from({ length: 8 }, (_, group) => groupLine(update, group)).join(''));
  await groups.close();
  const feed = new RunFeed(path);
  let start = performance.now();
  await feed.refresh();
  expect(performance.now() - start).toBeLessThan(3000);
  expect(feed.summary).toMatchObject({ updates: 10_000, groups: 80_000 });
  start = performance.now();
  const text = JSON.stringify(feed.metrics.thinned(2000));
  expect(performance.now() - start).toBeLessThan(300);
  expect(text.length).toBeLessThan(1e6);
  start = performance.now();
  await feed.refresh();
  expect(performance.now() - start).toBeLessThan(300);
  expect(await feed.group(79_999)).toMatchObject({ record: { update: 10_000, group: 7 } });
});
