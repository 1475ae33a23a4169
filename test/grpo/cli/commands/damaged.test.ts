/** A run whose newest checkpoint is damaged: every command goes by the one before it, and says so. */
import { cp, readdir, readFile, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { temporaryFolder } from '../../../temporary.js';
import { writeTinyFile } from '../../tiny_file.js';
import { winnow } from '../output.js';

const folder = temporaryFolder();
const whole = join(folder, 'runs', 'whole');
const config = join(folder, 'tiny.yaml');

beforeAll(async () => {
  await writeTinyFile(
    folder,
    `lora: { rank: 2, alpha: 4, targets: attention }
reward: { brightness: { weight: 1 } }
sampler: { steps: 3, kind: ddim, noise: 1, eval_steps: 2 }
grpo: { keep: [4, 3, 2], prune_at: [0, 1], groups_per_update: 1 }
train: { updates: 2, lr: 1.0e-2, micro_batch: 4 }
save: { every: 1, keep: 2 }
sample: { seeds: [1] }
eval: { n: 2 }
`,
  );
  const made = await winnow('train', config, '--out', join(folder, 'runs'), '--name', 'whole', '--quiet');
  expect(made).toMatchObject({ status: 0 });
});

/** A copy of the run whose last checkpoint has had the end of a file cut off. */
async function damagedRun(name: string, file = 'adapter.safetensors'): Promise<string> {
  const run = join(folder, 'runs', name);
  await cp(whole, run, { recursive: true });
  await truncate(join(run, 'checkpoints', '000002', file), 200);
  return run;
}

const passedOver = /^! a damaged checkpoint is passed over: .*000002.*; .*000001 is taken instead$/m;
const png = (path: string): Promise<string> => readFile(path, 'base64');

test('eval, sample, inspect and export go by the one before it and say so; one that is asked for by its number is refused', async () => {
  const run = await damagedRun('judged');
  const judged = await winnow('eval', run, '--json');
  expect(judged).toMatchObject({ status: 0, stderr: expect.stringMatching(passedOver) });
  expect(JSON.parse(judged.stdout).tuned).toBe(join(run, 'checkpoints', '000001'));

  const draw = async (name: string, of: string, ...more: string[]) => {
    const grid = join(folder, `${name}.png`);
    const drawn = await winnow('sample', of, '--prompt', 'a cat', '--steps', '2', '--grid', grid, ...more);
    return { ...drawn, picture: await png(grid).catch(() => '') };
  };
  const drawn = await draw('fallback', run);
  expect(drawn).toMatchObject({ status: 0, stderr: expect.stringMatching(passedOver) });
  const before = await draw('whole', run, '--step', '1');
  expect(before.stderr).not.toMatch(/damaged/);
  expect(drawn.picture).toBe(before.picture);
  const asked = await draw('asked', run, '--step', '2');
  expect(asked).toMatchObject({ status: 6, stderr: expect.stringContaining('no checkpoint that can be used') });
  expect(asked.stderr).toContain(join(run, 'checkpoints', '000002', 'adapter.safetensors'));

  const looked = await winnow('inspect', run, '--out', join(folder, 'inspect.png'));
  expect(looked).toMatchObject({ status: 0, stderr: expect.stringMatching(passedOver) });

  const exported = await winnow('export', run, '--out', join(folder, 'export'));
  expect(exported).toMatchObject({ status: 0, stderr: expect.stringMatching(passedOver) });
  const first = await winnow('export', whole, '--step', '1', '--out', join(folder, 'first'));
  expect(await png(exported.stdout.trim())).toBe(await png(first.stdout.trim()));
});

test('a run goes on from the one before it, ends with the same bits, and the damaged one stands in no way', async () => {
  const run = await damagedRun('resumed', 'optimizer.safetensors');
  expect((await winnow('eval', run)).stderr, 'whose adapter is whole').not.toMatch(/damaged/);
  const resumed = await winnow('train', '--resume', run);
  expect(resumed).toMatchObject({ status: 0, stderr: expect.stringMatching(passedOver) });
  expect(await readFile(join(run, 'log.txt'), 'utf8')).toContain('a damaged checkpoint is passed over');
  const file = join('checkpoints', '000002', 'adapter.safetensors');
  expect(await png(join(run, file))).toBe(await png(join(whole, file)));
  expect((await readdir(join(run, 'checkpoints'))).sort()).toEqual(['000001', '000002']);
});

test('where no checkpoint is whole, each is named', async () => {
  const run = await damagedRun('lost');
  await rm(join(run, 'checkpoints', '000001', 'adapter.safetensors'));
  const resumed = await winnow('train', '--resume', run);
  expect(resumed).toMatchObject({ status: 6 });
  for (const name of ['000001', '000002']) expect(resumed.stderr).toContain(join(name, 'adapter.safetensors'));
  expect((await readdir(join(run, 'checkpoints'))).sort(), 'nothing is moved').toEqual(['000001', '000002']);
});
