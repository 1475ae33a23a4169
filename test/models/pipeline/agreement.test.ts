/** Parts of folders that contradict each other: refused by their configs, before a byte of weights is read. */
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { openSafetensors, writeSafetensors } from '../../../engine/safetensors.js';
import { loadPipeline } from '../../../models/pipeline/pipeline.js';
import { testDevice } from '../../check.js';
import { broken, change, spoiled, warnings } from './spoiled.js';

const device = await testDevice();

const of = (file: string): string => `${file}/config.json`;

test.each<[string, string, object, string]>([
  [
    'sd1',
    of('unet'),
    { cross_attention_dim: 32 },
    'unet/config.json: cross_attention_dim is 32, expected 12, hidden_size of text_encoder/config.json',
  ],
  [
    'sd1',
    of('unet'),
    { in_channels: 9 },
    'unet/config.json: in_channels is 9, expected 4, latent_channels of vae/config.json',
  ],
  [
    'sd1',
    of('unet'),
    { out_channels: 8 },
    'unet/config.json: out_channels is 8, expected 4, in_channels of unet/config.json',
  ],
  [
    'sd1',
    of('vae'),
    { latent_channels: 16 },
    'unet/config.json: in_channels is 4, expected 16, latent_channels of vae/config.json',
  ],
  ['sd1', of('vae'), { out_channels: 4 }, 'vae/config.json: out_channels is 4, expected 3: red, green and blue'],
  [
    'sd1',
    of('vae'),
    { shift_factor: 0.5 },
    'vae/config.json: shift_factor is 0.5, expected 0: StableDiffusionPipeline does not shift',
  ],
  [
    'sd1',
    of('text_encoder'),
    { max_position_embeddings: 50 },
    'tokenizer: model_max_length is 77, expected at most 50, max_position_embeddings of text_encoder/config.json',
  ],
  [
    'sd1',
    of('text_encoder'),
    { vocab_size: 600 },
    'tokenizer: the largest id is 673 ("<|endoftext|>"), expected less than 600, vocab_size of text_encoder/config.json',
  ],
  [
    'sd3',
    of('transformer'),
    { joint_attention_dim: 19 },
    'joint_attention_dim is 19, expected at least 20, the sum of hidden_size of text_encoder/config.json and hidden_size of text_encoder_2/config.json',
  ],
  [
    'sd3',
    of('text_encoder_2'),
    { projection_dim: 13 },
    'pooled_projection_dim is 20, expected 21, the sum of projection_dim of text_encoder/config.json and projection_dim of text_encoder_2/config.json',
  ],
  [
    'sd3',
    of('transformer'),
    { out_channels: 8 },
    'out_channels is 8, expected 4, in_channels of transformer/config.json',
  ],
  [
    'sd3',
    'model_index.json',
    { max_sequence_length: -1 },
    'max_sequence_length is -1, expected an integer from 0 to 512',
  ],
  ['sd3', 'model_index.json', { max_sequence_length: '77' }, 'max_sequence_length is "77", expected an integer'],
  [
    'dit',
    of('transformer'),
    { out_channels: 5 },
    'out_channels is 5, expected 4 or 8: the noise, or the noise and its variance',
  ],
  [
    'dit',
    'model_index.json',
    { id2label: { 5000: 'cat' } },
    'id2label.5000 is "cat", expected a text for a number below 1000',
  ],
  ['dit', 'model_index.json', { id2label: 'cat' }, 'id2label is "cat", expected an object of texts by number'],
  ['sd1', 'model_index.json', { vae: [null, null] }, 'model_index.json: vae is [null,null], expected a component'],
  [
    'sd3',
    'model_index.json',
    { text_encoder_3: ['transformers', 'T5EncoderModel'], tokenizer_3: ['transformers', 'T5TokenizerFast'] },
    'no folder text_encoder_3/, which model_index.json lists: [null, null] there does without T5\n  no folder tokenizer_3/',
  ],
])('%s with %s %o', async (name, file, keys, expected) => {
  const read = vi.spyOn(device, 'place');
  const message = await broken(name, change(file, { ...keys }));
  expect(message).toContain(expected);
  expect(message).toMatch(/^FOLDER/);
  expect(read).not.toHaveBeenCalled();
  read.mockRestore();
});

test.each<[string, string, object, string]>([
  ['sd1', of('unet'), { layers_per_block: 100_000_000 }, 'layers_per_block is 100000000, expected at most 1000'],
  ['sd1', of('unet'), { layers_per_block: 1000, transformer_layers_per_block: 1000 }, 'more than 20000 weights'],
  ['sd1', of('unet'), { cross_attention_dim: 1e9 }, 'cross_attention_dim is 1000000000, expected at most 1048576'],
  ['sd1', of('unet'), { block_out_channels: Array(17).fill(8) }, 'expected at most 16 levels'],
  [
    'sd1',
    of('unet'),
    { block_out_channels: Array(2e6).fill(8) },
    'block_out_channels is "2000000 entries", expected at most 1000',
  ],
  ['sd1', of('vae'), { layers_per_block: 1e9 }, 'layers_per_block is 1000000000, expected at most 1000'],
  ['sd1', of('vae'), { scaling_factor: 1e-300 }, 'scaling_factor is 1e-300, expected a number'],
  ['sd1', of('vae'), { scaling_factor: 1e300 }, 'scaling_factor is 1e+300, expected at most 1048576'],
  ['sd1', of('text_encoder'), { num_hidden_layers: 1e7 }, 'num_hidden_layers is 10000000, expected at most 1000'],
  ['sd3', of('transformer'), { num_layers: 1e6 }, 'num_layers is 1000000, expected at most 1000'],
  ['sd3', of('transformer'), { pos_embed_max_size: 1e6 }, 'pos_embed_max_size is 1000000, expected at most 16384'],
  ['dit', of('transformer'), { sample_size: 1e6 }, 'sample_size is 1000000, expected at most 16384'],
])('%s with %s out of hand is refused at once', async (name, file, keys, expected) => {
  const start = performance.now();
  expect(await broken(name, change(file, { ...keys }))).toContain(expected);
  expect(performance.now() - start).toBeLessThan(5000);
});

describe('what a pipeline can do without is said', () => {
  test('SD3 without T5: so many zeros', async () => {
    const zeros = "the folder has no text_encoder_3: 256 tokens of zeros stand in the place of T5's, as in diffusers";
    expect(await warnings('sd3', async () => {})).toEqual([zeros]);
    expect(await warnings('sd3', async () => {}, { maxSequenceLength: 0 })).toEqual([]);
  });

  test('no text encoder: the folder loads, and prompts are refused', async () => {
    const folder = await spoiled('sd1', async (path) => {
      await change('model_index.json', { text_encoder: [null, null], tokenizer: [null, null] })(path);
      for (const name of ['text_encoder', 'tokenizer']) await rm(join(path, name), { recursive: true });
    });
    const told: string[] = [];
    const pipeline = await loadPipeline(device, folder, { warn: (message) => told.push(message) });
    expect(told).toEqual([expect.stringContaining('the folder has no text_encoder or no tokenizer for it')]);
    expect(() => pipeline.encode(['a red circle'])).toThrow(
      /model_index\.json\n {2}text_encoder: null, expected a text/,
    );
    pipeline.dispose();
  });

  test('a component that nothing here needs', async () => {
    const listed = change('model_index.json', { safety_checker: ['stable_diffusion', 'StableDiffusionSafetyChecker'] });
    expect(await warnings('sd1', listed)).toEqual([
      'model_index.json lists safety_checker, which the folder lacks; nothing here needs it',
    ]);
  });
});

describe('tensors that the network has no place for', () => {
  const weights = 'unet/diffusion_pytorch_model.safetensors';

  /** Adds a copy of a tensor under other names. */
  const adding = (from: string, names: readonly string[]) => async (folder: string) => {
    const path = join(folder, weights);
    const file = await openSafetensors(path);
    const all: Record<string, Parameters<typeof writeSafetensors>[1][string]> = {};
    for (const [name, { dtype, shape }] of file.entries) all[name] = { dtype, shape, data: await file.readBytes(name) };
    await file.close();
    for (const name of names) all[name] = all[from]!;
    await writeSafetensors(path, all, { format: 'pt' });
  };

  test('are named in a warning, as diffusers loads them', async () => {
    const names = ['ema.decay', 'a', 'b', 'c', 'd'];
    expect(await warnings('sd1', adding('conv_out.bias', names))).toEqual([
      `FOLDER/${weights}: not loaded, as the network has no place for them: ema.decay [4] F16, a [4] F16, b [4] F16 and 2 more`,
    ]);
  });

  test('show another network where they continue a list of its own', async () => {
    const resnet = 'down_blocks.0.resnets.0.conv1.bias';
    expect(await broken('sd1', adding(resnet, [resnet.replace('resnets.0', 'resnets.7')]))).toMatch(
      /down_blocks\.0\.resnets\.7\.conv1\.bias \[\d+\] F16 is in the file, expected no such weight$/,
    );
  });
});

describe('variants', () => {
  const weights = 'unet/diffusion_pytorch_model';
  const two = async (folder: string) => {
    await rename(join(folder, `${weights}.safetensors`), join(folder, `${weights}.fp16.safetensors`));
    await change('model_index.json', {})(folder);
  };

  test('of which some components have none are said', async () => {
    expect(await warnings('sd1', two, { variant: 'fp16' })).toEqual([
      'no file of the variant fp16: text_encoder/model.safetensors is read in its place',
      'no file of the variant fp16: vae/diffusion_pytorch_model.safetensors is read in its place',
    ]);
  });

  test('that no component has are refused', async () => {
    expect(await broken('sd1', async () => {}, { variant: 'bf16' })).toBe(
      'FOLDER\n  no file of the variant bf16: found unet/diffusion_pytorch_model.safetensors, text_encoder/model.safetensors, vae/diffusion_pytorch_model.safetensors',
    );
  });
});
