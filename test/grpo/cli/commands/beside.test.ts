/** Runs beside each other, as processes of their own: new ones in one minute, resumptions at once, one that was killed. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { temporaryFolder } from '../../../temporary.js';
import { writeTinyFile } from '../../tiny_file.js';
import { winnow } from '../output.js';
import { start } from '../process.js';

const folder = temporaryFolder();
const out = join(folder, 'runs');
const config = join(folder, 'tiny.yaml');

beforeAll(async () => {
  await writeTinyFile(
    folder,
    `lora: { rank: 2 }
reward: { brightness: {} }
sampler: { steps: 2, kind: ddim }
grpo: { keep: [2], prune_at: [], prune: none, groups_per_update: 1 }
train: { updates: 1 }
save: { every: 1, keep: 2 }
sample: { seeds: [1] }
eval: { n: 2 }
`,
  );
});

const info = async (name: string) => JSON.parse(await readFile(join(out, name, 'run.json'), 'utf8'));

test('two new runs of one configuration in one minute get two folders', async () => {
  const both = [start('train', config, '--out', out), start('train', config, '--out', out)];
  const codes = await Promise.all(both.map(({ ended }) => ended));
  expect(codes, both.map(({ printed }) => printed()).join('\n')).toEqual([0, 0]);
  const names = (await readdir(out)).sort();
  expect(names.length).toBe(2);
  expect(names[0]).toMatch(/^\d{4}-\d\d-\d\d_\d\d-\d\d_tiny_s42$/);
  for (const name of names) {
    expect(await info(name)).toMatchObject({ status: 'done', updates: 1 });
    expect(await readdir(join(out, name))).not.toContain('lock');
  }
}, 300_000);

test('two new runs of one name: one gets it, the other is refused at once', async () => {
  const both = ['first', 'second'].map(() => start('train', config, '--out', out, '--name', 'one'));
  const codes = await Promise.all(both.map(({ ended }) => ended));
  expect(codes.sort()).toEqual([0, 2]);
  expect(both.map(({ printed }) => printed()).join('')).toContain(
    `error[2]: ${join(out, 'one')} exists; choose another --name, or go on with --resume`,
  );
}, 300_000);

test('of two resumptions at once one goes on, the other says who has the run', async () => {
  const path = join(out, 'one');
  const resumed = () => start('train', '--resume', path, '--steps', '8');
  const both = [resumed(), resumed()];
  const codes = await Promise.all(both.map(({ ended }) => ended));
  expect([...codes].sort()).toEqual([0, 2]);
  const [winner, loser] = codes[0] === 0 ? [both[0]!, both[1]!] : [both[1]!, both[0]!];
  expect(loser.printed()).toContain(
    `error[2]: ${path}: process ${winner.child.pid} is training this run (${join(path, 'lock')})`,
  );
  expect(await info('one')).toMatchObject({ status: 'done', updates: 8 });
  const lines = (await readFile(join(path, 'metrics.jsonl'), 'utf8')).trim().split('\n');
  expect(lines.map((line) => JSON.parse(line).update)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
}, 300_000);

test('a run whose process was killed goes on at once, whoever has its process id now', async () => {
  const path = join(out, 'killed');
  const { child, until, ended } = start('train', config, '--out', out, '--name', 'killed', '--steps', '500');
  await until(/saved .*000002\b/);
  const refused = await winnow('train', '--resume', path);
  expect([refused.status, refused.stderr]).toEqual([
    2,
    `error[2]: ${path}: process ${child.pid} is training this run (${join(path, 'lock')})\n`,
  ]);
  const listed = async (): Promise<string> => (await winnow('runs', '--out', out)).stdout;
  expect(await listed()).toMatch(/^killed +running /m);
  child.kill('SIGKILL');
  await ended;
  expect(await listed()).toMatch(/^killed +failed .*its process has ended without a word$/m);

  const living = { pid: process.ppid };
  for (const name of ['run.json', 'lock']) {
    const file = JSON.parse(await readFile(join(path, name), 'utf8'));
    const changed = name === 'lock' ? { ...file, ...living } : { ...file, process: { ...file.process, ...living } };
    await writeFile(join(path, name), JSON.stringify(changed));
  }
  expect(await listed()).toMatch(/^killed +failed /m);
  const steps = String((await info('killed')).updates + 1);
  const again = await winnow('train', '--resume', path, '--steps', steps, '--quiet');
  expect([again.status, again.stderr]).toEqual([0, expect.not.stringContaining('error')]);
  expect(await readdir(path)).not.toContain('lock');
}, 300_000);
