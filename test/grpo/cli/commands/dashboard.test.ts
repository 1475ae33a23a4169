/** The commands that show runs: watch, report, and train with a page and a report. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../../../engine/version.js';
import { temporaryFolder } from '../../../temporary.js';
import { makeRun } from '../../dashboard/run_folder.js';
import { winnow } from '../output.js';

const folder = temporaryFolder();

test('watch prints where the page is and ends by Ctrl-C in good order', async () => {
  await makeRun(join(folder, 'runs', 'first'));
  const running = winnow('watch', join(folder, 'runs'), '--port', '0');
  await new Promise((done) => setTimeout(done, 500));
  process.emit('SIGINT', 'SIGINT');
  const { status, stdout } = await running;
  expect(status).toBe(0);
  expect(stdout).toMatch(/^page {5}http:\/\/127\.0\.0\.1:\d+\n$/);
});

test('watch refuses what makes no sense as usage', async () => {
  const beyond = await winnow('watch', folder, '--host', '0.0.0.0');
  expect(beyond).toMatchObject({ status: 2, stderr: expect.stringContaining('give a --token') });
  expect((await winnow('watch', join(folder, 'none'))).status).toBe(2);
  expect((await winnow('watch', folder, '--port', '65536')).status).toBe(2);
});

test('report writes a file and says how large it is; what is no run is a file that can not be read', async () => {
  await makeRun(join(folder, 'one'));
  const path = join(folder, 'one.html');
  const { status, stdout } = await winnow('report', join(folder, 'one'), '-o', path);
  expect([status, stdout]).toEqual([0, expect.stringMatching(/^look {2}.*one\.html \([\d.]+ kB\)\n$/)]);
  expect(await readFile(path, 'utf8')).toContain('<h1>one</h1>');
  expect((await winnow('report', join(folder, 'none'))).status).toBe(6);
});

test('train --dashboard --report prints the page as it begins and the report before the results', async () => {
  const prompts = join(folder, 'prompts.txt');
  await writeFile(prompts, 'a red circle\n');
  await writeFile(
    join(folder, 'tiny.yaml'),
    `model: { path: ${join(packageRoot(), 'test/fixtures/pipelines/sd1')}, weights: f32 }
lora: { rank: 2, alpha: 4, targets: attention }
prompts: { train: ${prompts}, test: ${prompts} }
reward: { brightness: { weight: 1 } }
sampler: { steps: 3, kind: ddim, noise: 1, eval_steps: 2 }
grpo: { keep: [3, 2], prune_at: [1], groups_per_update: 1 }
train: { updates: 1, micro_batch: 2 }
sample: { seeds: [1] }
eval: { n: 2 }
`,
  );
  const run = join(folder, 'trained');
  const options = ['--out', folder, '--name', 'trained', '--dashboard=0', '--report'];
  const { status, stdout, stderr } = await winnow('train', join(folder, 'tiny.yaml'), ...options);
  expect(status).toBe(0);
  expect(stderr).toMatch(/^page {5}http:\/\/127\.0\.0\.1:\d+\/\?run=trained$/m);
  const lines = stdout.split('\n').map((line) => line.split(' ')[0]);
  expect(lines.indexOf('report')).toBe(lines.indexOf('done') - 1);
  expect(stdout).toContain(`report   ${join(run, 'report.html')}`);
  expect(await readFile(join(run, 'report.html'), 'utf8')).toContain('1 of 1, done');
});
