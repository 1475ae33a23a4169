/** The hash of a model folder: what loading reads counts, and nothing else. */
import { appendFile, cp, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import { hashModelFolder, hashTree } from '../../../models/files/folder_hash.js';
import { temporaryFolder } from '../../temporary.js';

const folder = temporaryFolder();
const given = join(packageRoot(), 'test/fixtures/pipelines/sd1');

test('a copy has the hash of its origin, and so it stays with pages, pictures and weights that are not read', async () => {
  const copy = join(folder, 'copy');
  await cp(given, copy, { recursive: true });
  const hash = await hashModelFolder(given);
  expect(hash).toMatch(/^[0-9a-f]{64}$/);
  expect(await hashModelFolder(copy)).toBe(hash);
  await writeFile(join(copy, 'README.md'), 'a page');
  await writeFile(join(copy, 'unet', 'diffusion_pytorch_model.fp16.safetensors'), 'not read');
  await writeFile(join(copy, 'unet', 'diffusion_pytorch_model.bin'), 'not read');
  await mkdir(join(copy, '.cache'));
  expect(await hashModelFolder(copy)).toBe(hash);
});

test('a byte of a weight, a key of a config, a name or another variant make another one', async () => {
  const hash = await hashModelFolder(given);
  for (const change of [
    (copy: string) => appendFile(join(copy, 'unet/diffusion_pytorch_model.safetensors'), ' '),
    async (copy: string) => {
      const path = join(copy, 'scheduler/scheduler_config.json');
      await writeFile(path, (await readFile(path, 'utf8')).replace('1000', '999'));
    },
    (copy: string) => rename(join(copy, 'vae/config.json'), join(copy, 'vae/other.json')),
    (copy: string) => appendFile(join(copy, 'model_index.json'), '\n'),
  ]) {
    const copy = join(folder, Math.random().toString(36).slice(2));
    await cp(given, copy, { recursive: true });
    await change(copy);
    expect(await hashModelFolder(copy)).not.toBe(hash);
  }
});

test('of any folder all files count, below it too; of a file its bytes', async () => {
  const tree = join(folder, 'tree');
  await mkdir(join(tree, 'deep'), { recursive: true });
  await writeFile(join(tree, 'deep', 'a.bin'), '1');
  const hash = await hashTree(tree);
  await writeFile(join(tree, 'b.txt'), '');
  const more = await hashTree(tree);
  expect(more).not.toBe(hash);
  expect(await hashTree(join(tree, 'deep', 'a.bin'))).not.toBe(await hashTree(join(tree, 'b.txt')));
});
