/** Model folders that can't be used: a message for each way, and nothing stays in memory. */
import { readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { type FileTensor, openSafetensors, writeSafetensors } from '../../../engine/safetensors.js';
import { testDevice } from '../../check.js';
import { broken } from './spoiled.js';

const device = await testDevice();

describe('folders that lack something', () => {
  test('all missing parts are named together', async () => {
    const message = await broken('sd3', async (folder) => {
      await rm(join(folder, 'text_encoder_2'), { recursive: true });
      await rm(join(folder, 'vae'), { recursive: true });
    });
    expect(message).toBe('FOLDER\n  no folder text_encoder_2/\n  no folder vae/');
  });

  test('an unknown pipeline', async () => {
    const message = await broken('sd1', (folder) =>
      writeFile(join(folder, 'model_index.json'), '{"_class_name": "FluxPipeline"}'),
    );
    expect(message).toContain(
      '_class_name is "FluxPipeline", expected one of StableDiffusionPipeline, StableDiffusion3Pipeline, DiTPipeline',
    );
  });

  test('a config of another network', async () => {
    const message = await broken('sd1', (folder) =>
      writeFile(join(folder, 'unet', 'config.json'), '{"block_out_channels": []}'),
    );
    expect(message).toContain('FOLDER/unet/config.json\n  in_channels is missing, expected an integer');
  });

  test('weights that are not there', async () => {
    const message = await broken('dit', (folder) =>
      rm(join(folder, 'transformer', 'diffusion_pytorch_model.safetensors')),
    );
    expect(message).toContain('FOLDER/transformer');
  });

  /** The one file of weights of a subfolder. */
  const weightsIn = async (folder: string, name: string): Promise<string> => {
    const files = await readdir(join(folder, name));
    return join(folder, name, files.find((file) => file.endsWith('.safetensors'))!);
  };

  test('a file of weights that is cut short, after others have been loaded', async () => {
    const message = await broken('sd3', async (folder) => {
      const path = await weightsIn(folder, 'text_encoder_2');
      await truncate(path, (await stat(path)).size - 100);
    });
    expect(message).toMatch(/^FOLDER\/text_encoder_2\/[\w.]+\.safetensors\n {2}/);
  });

  test('weights of another shape, and weights that are missing', async () => {
    const message = await broken('sd1', async (folder) => {
      const path = join(folder, 'vae', 'config.json');
      const config = JSON.parse(await readFile(path, 'utf8'));
      await writeFile(path, JSON.stringify({ ...config, block_out_channels: [24, 32], layers_per_block: 3 }));
    });
    expect(message).toMatch(/^FOLDER\/vae\/.*\n {2}.* is \[.*\], expected \[.*\]\n/);
    expect(message).toMatch(/and \d+ more$/);
  });

  test('a tensor that is missing', async () => {
    const message = await broken('dit', async (folder) => {
      const path = await weightsIn(folder, 'transformer');
      const file = await openSafetensors(path);
      const kept = [...file.entries.keys()].filter((name) => name !== 'proj_out_2.bias');
      const tensors: Record<string, FileTensor> = {};
      for (const name of kept) {
        const { dtype, shape } = file.entry(name);
        tensors[name] = { dtype, shape, data: await file.readBytes(name) };
      }
      await file.close();
      await writeSafetensors(path, tensors, { format: 'pt' });
    });
    expect(message).toMatch(/^FOLDER\/transformer\/.*\n {2}proj_out_2\.bias is missing, expected \[\d+\]$/);
  });

  test.each(['unet', 'vae', 'text_encoder'])('a config that %s refuses, before anything is allocated', async (name) => {
    const allocated = vi.spyOn(device, 'place');
    const message = await broken('sd1', async (folder) => {
      const path = join(folder, name, 'config.json');
      const config = JSON.parse(await readFile(path, 'utf8'));
      const wrong = name === 'text_encoder' ? { num_attention_heads: 7 } : { norm_num_groups: 7 };
      await writeFile(path, JSON.stringify({ ...config, ...wrong }));
    });
    expect(message).toMatch(
      new RegExp(`^FOLDER/${name}/config\\.json\\n {2}(block_out_channels|num_attention_heads) is `),
    );
    expect(allocated).not.toHaveBeenCalled();
    allocated.mockRestore();
  });

  test('a tokenizer that is not there', async () => {
    const message = await broken('sd1', (folder) => rm(join(folder, 'tokenizer', 'tokenizer.json')));
    expect(message).toContain('FOLDER/tokenizer');
  });

  test('no model_index.json at all', async () => {
    const message = await broken('sd1', (folder) => rm(join(folder, 'model_index.json')));
    expect(message).toBe('FOLDER/model_index.json\n  no such file or folder');
  });
});
