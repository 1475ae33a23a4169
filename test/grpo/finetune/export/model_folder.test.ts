/** Export of a run that trained every weight: a model folder that draws what the run draws. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { openSafetensors } from '../../../../engine/safetensors.js';
import { packageRoot } from '../../../../engine/version.js';
import { temporaryFolder } from '../../../temporary.js';
import { winnow } from '../../cli/output.js';

const folder = temporaryFolder();
const base = join(packageRoot(), 'test/fixtures/pipelines/sd1');
const run = join(folder, 'runs', 'full');

/** Writes a configuration for a model folder, and returns its path. */
async function configOf(model: string, weights = ''): Promise<string> {
  const path = join(folder, 'full.yaml');
  await writeFile(
    path,
    `model: { path: ${model}, weights: f32 }
lora: null
prompts: { train: ${join(folder, 'prompts.txt')}, test: ${join(folder, 'prompts.txt')} }
reward: { brightness: { weight: 1 } }
sampler: { steps: 2, kind: ddim, noise: 1, eval_steps: 2 }
grpo: { keep: [3, 2], prune_at: [1], groups_per_update: 1 }
train: { updates: 1, lr: 1.0e-2, micro_batch: 4${weights} }
sample: { seeds: [1] }
eval: { n: 2 }
`,
  );
  return path;
}

beforeAll(async () => {
  await writeFile(join(folder, 'prompts.txt'), 'a red circle\nthe blue cat\n');
  const trained = await winnow('train', await configOf(base), '--out', join(folder, 'runs'), '--name', 'full');
  expect(trained.stderr).not.toContain('error');
});

/** The pixels of two pictures by a run or a configuration. */
async function grid(model: string): Promise<string> {
  const path = join(folder, 'grid.png');
  const made = await winnow('sample', model, '--prompt', 'a cat', '--n', '2', '--steps', '2', '--grid', path);
  expect(made.status, made.stderr).toBe(0);
  const png = await readFile(path);
  return png.subarray(png.indexOf('IDAT')).toString('base64'); // without the texts
}

test('the folder has every part of the model and draws what the run draws', async () => {
  const out = join(folder, 'f32');
  const exported = await winnow('export', run, '--out', out);
  expect(exported.stderr).toBe('');
  expect(exported.stdout).toBe(`${out}\n`);
  expect((await readdir(out)).sort()).toEqual((await readdir(base)).sort());
  expect((await readdir(join(out, 'unet'))).sort()).toEqual(['config.json', 'diffusion_pytorch_model.safetensors']);
  const drawn = await grid(await configOf(out)); // f32, as the run has it
  expect(drawn).toBe(await grid(run));
  expect(drawn).not.toBe(await grid(await configOf(base)));
});

test('where named weights alone learned, the others are those of the base', async () => {
  const config = await configOf(base, ', weights: [conv_out.bias]');
  const trained = await winnow('train', config, '--out', join(folder, 'runs'), '--name', 'part');
  expect(trained.status, trained.stderr).toBe(0);
  expect(trained.stdout).toMatch(/^model .* parameters, \d+ trainable, /m);
  const out = join(folder, 'part');
  expect((await winnow('export', join(folder, 'runs', 'part'), '--out', out)).status).toBe(0);
  const [after, before] = await Promise.all(
    [out, base].map((model) => openSafetensors(join(model, 'unet', 'diffusion_pytorch_model.safetensors'))),
  );
  expect([...after!.entries.keys()].sort()).toEqual([...before!.entries.keys()].sort());
  for (const name of after!.entries.keys()) {
    const same = JSON.stringify([...(await after!.read(name))]) === JSON.stringify([...(await before!.read(name))]);
    expect(same, name).toBe(name !== 'conv_out.bias');
  }
  await after!.close();
  await before!.close();
});

test('--dtype f16 halves the network, key by key', async () => {
  const out = join(folder, 'f16');
  expect((await winnow('export', run, '--dtype', 'f16', '--out', out)).status).toBe(0);
  const [half, full] = await Promise.all(
    [out, base].map((model) => openSafetensors(join(model, 'unet', 'diffusion_pytorch_model.safetensors'))),
  );
  expect([...half!.entries.keys()].sort()).toEqual([...full!.entries.keys()].sort());
  for (const [name, { dtype, shape }] of half!.entries) {
    expect(dtype).toBe('F16');
    expect(shape, name).toEqual(full!.entries.get(name)!.shape);
  }
  await half!.close();
  await full!.close();
});

test('an adapter format, averages that were not kept and a folder with files are refused, and nothing is written', async () => {
  const out = join(folder, 'refused');
  const peft = await winnow('export', run, '--format', 'peft', '--out', out);
  expect(peft).toMatchObject({ status: 2, stderr: expect.stringContaining('trained every weight') });
  expect((await winnow('export', run, '--ema', '--out', out)).status).toBe(2);
  const before = await readdir(folder);
  const taken = await winnow('export', run, '--out', folder);
  expect(taken).toMatchObject({ status: 2, stderr: expect.stringContaining('has files already') });
  expect(await readdir(folder)).toEqual(before);
  expect(before).not.toContain('refused');
});
