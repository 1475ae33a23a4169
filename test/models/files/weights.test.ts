/** Loading weights: every layout and element type. */
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openSafetensors } from '../../../engine/safetensors.js';
import { fromHalf, toHalf } from '../../../engine/tensor/dtype.js';
import { Parameters } from '../../../models/blocks/parameters.js';
import { convert } from '../../../models/files/convert.js';
import { clipTextKeys, clipVisionKeys, type KeyLayout, t5Keys, vaeKeys } from '../../../models/files/key_layouts.js';
import { loadWeights, saveWeights } from '../../../models/files/weights.js';
import { random } from '../../check.js';
import {
  declare,
  device,
  expectLoaded,
  fileTensor,
  goTo,
  here,
  indexFile,
  shapes,
  single,
  tensors,
  valuesOf,
  write,
} from '../weight_folders.js';

test.each(['F32', 'F16', 'BF16', 'F64'] as const)('a single file of %s fills weights of f32 and f16', async (dtype) => {
  await write(single, tensors(dtype));
  expect(await expectLoaded()).toEqual({ files: [single], variant: undefined });
  await expectLoaded({}, 'f16');
});

test('16-bit patterns convert as the types say, subnormals included', () => {
  const patterns = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);
  const bytes = new Uint8Array(patterns.buffer);
  expect(convert(bytes, 'F16', 'f32')).toEqual(Float32Array.from(patterns, fromHalf));
  const brain = convert(bytes, 'BF16', 'f32');
  expect(new Uint32Array(brain.buffer)[0x3f81]).toBe(0x3f810000);
  expect([...convert(bytes, 'BF16', 'f16').slice(0x3f80, 0x3f83)]).toEqual([1, 1.0078125, 1.015625].map(toHalf));
  expect(convert(bytes, 'F16', 'f16')).toEqual(patterns);
  const floats = random([1 << 16], 3, { low: -1e5, high: 1e5 }).data.map((value, i) => value * 2 ** -(i % 48));
  const values = Float32Array.from(floats);
  expect(convert(new Uint8Array(values.buffer), 'F32', 'f16')).toEqual(Uint16Array.from(values, toHalf));
});

test('an index leads to its shards, which may hold more', async () => {
  const { 'conv_in.weight': first, ...rest } = tensors();
  await write('diffusion_pytorch_model-00001-of-00002.safetensors', { 'conv_in.weight': first! });
  await write('diffusion_pytorch_model-00002-of-00002.safetensors', { ...rest, more: fileTensor([1], [0]) });
  const weightMap = Object.fromEntries(
    Object.keys(shapes).map((name, i) => [name, `diffusion_pytorch_model-0000${i === 0 ? 1 : 2}-of-00002.safetensors`]),
  );
  writeFileSync(join(here(), indexFile), JSON.stringify({ metadata: { total_size: 1 }, weight_map: weightMap }));
  expect((await expectLoaded()).files).toHaveLength(2);
});

test('plain files come before a variant, unless it is asked for; a folder without it falls back', async () => {
  await write('model.fp16.safetensors', tensors('F16'));
  expect(await expectLoaded()).toEqual({ files: ['model.fp16.safetensors'], variant: 'fp16' });
  await write('model.safetensors', tensors());
  expect((await expectLoaded()).files).toEqual(['model.safetensors']);
  expect((await expectLoaded({ variant: 'fp16' })).files).toEqual(['model.fp16.safetensors']);
  expect(await expectLoaded({ variant: 'bf16' })).toEqual({ files: ['model.safetensors'], variant: undefined });
});

test('shards of a variant, in the older and the newer spelling', async () => {
  const shards = ['diffusion_pytorch_model-00001-of-00001.fp16', 'diffusion_pytorch_model.fp16-00001-of-00001'];
  for (const shard of shards) {
    await write(`${shard}.safetensors`, tensors('F16'));
    const weightMap = Object.fromEntries(Object.keys(shapes).map((name) => [name, `${shard}.safetensors`]));
    const index = 'diffusion_pytorch_model.safetensors.index.fp16.json';
    writeFileSync(join(here(), index), JSON.stringify({ weight_map: weightMap }));
    expect(await expectLoaded({ variant: 'fp16' })).toEqual({ files: [`${shard}.safetensors`], variant: 'fp16' });
  }
});

test('links are followed, as in the cache of the hub', async () => {
  mkdirSync(join(here(), 'blobs'));
  await write('blobs/0a1b', tensors());
  mkdirSync(join(here(), 'snapshot'));
  symlinkSync('../blobs/0a1b', join(here(), 'snapshot', single));
  goTo(join(here(), 'snapshot'));
  await expectLoaded();
});

test('a 1x1 convolution may lie in the file as a matrix, and a matrix as a convolution', async () => {
  await write(
    single,
    tensors('F32', {
      'conv_in.weight': fileTensor([4, 3], valuesOf('conv_in.weight')),
      'block.to_q.weight': fileTensor([5, 4, 1, 1], valuesOf('block.to_q.weight')),
    }),
  );
  await expectLoaded();
});

test('what was saved loads again, and f16 halves the file', async () => {
  await write(single, tensors());
  const parameters = declare('f16');
  await loadWeights(device, here(), parameters);
  await saveWeights(here(), parameters, { name: 'model', dtype: 'F16' });
  parameters.dispose();
  const file = await openSafetensors(join(here(), 'model.safetensors'));
  expect(file.metadata).toEqual({ format: 'pt' });
  expect(file.entry('block.to_q.weight')).toMatchObject({ dtype: 'F16', shape: [5, 4], bytes: 40 });
  await file.close();
  rmSync(join(here(), single));
  expect((await expectLoaded()).files).toEqual(['model.safetensors']);
});

const otherKeys: readonly [string, KeyLayout, readonly string[], readonly string[]][] = [
  [
    'an old VAE',
    vaeKeys,
    ['encoder.mid_block.attentions.0.to_q.weight', 'decoder.mid_block.attentions.0.to_out.0.bias'],
    ['encoder.mid_block.attentions.0.query.weight', 'decoder.mid_block.attentions.0.proj_attn.bias'],
  ],
  [
    'a text encoder without its prefix',
    clipTextKeys,
    ['text_model.embeddings.token_embedding.weight'],
    ['embeddings.token_embedding.weight', 'embeddings.position_ids'],
  ],
  [
    'a whole CLIP, for its text encoder',
    clipTextKeys,
    ['text_model.final_layer_norm.weight', 'text_projection.weight'],
    [
      'text_model.final_layer_norm.weight',
      'text_projection.weight',
      'vision_model.post_layernorm.weight',
      'logit_scale',
    ],
  ],
  [
    'a whole CLIP, for its image encoder',
    clipVisionKeys,
    ['vision_model.post_layernorm.weight'],
    [
      'vision_model.post_layernorm.weight',
      'vision_model.embeddings.position_ids',
      'text_model.final_layer_norm.weight',
    ],
  ],
  ['a T5 with both names of its table', t5Keys, ['shared.weight'], ['shared.weight', 'encoder.embed_tokens.weight']],
  [
    'a whole T5',
    t5Keys,
    ['shared.weight'],
    ['encoder.embed_tokens.weight', 'decoder.final_layer_norm.weight', 'lm_head.weight'],
  ],
];

test.each(otherKeys)('%s loads under the names of its file', async (_name, keys, declared, held) => {
  const parameters = new Parameters();
  for (const name of declared) parameters.tensor(name, [2, 2]);
  await write('model.safetensors', Object.fromEntries(held.map((name) => [name, fileTensor([2, 2], [1, 2, 3, 4])])));
  await loadWeights(device, here(), parameters, { keys });
  for (const { tensor } of parameters.all) expect([...(await tensor.data())]).toEqual([1, 2, 3, 4]);
  parameters.dispose();
});

test.each([
  ['F32', 'f32'],
  ['F32', 'f16'],
  ['F64', 'f16'],
  ['BF16', 'f32'],
] as const)('a tensor of %s larger than what is read at once arrives whole as %s', async (dtype, storage) => {
  const rows = dtype === 'BF16' ? 8400 : 4200; // x 4096: 69 MB in F32 and BF16, one piece of 64 MiB and a rest; twice as much in F64
  const values = new Float32Array(rows * 4096);
  for (let i = 0; i < values.length; i++) values[i] = i % 251; // exact in every element type
  await write(single, { table: fileTensor([rows, 4096], values, dtype) });
  const parameters = new Parameters({ storage });
  const table = parameters.tensor('table', [rows, 4096]);
  await loadWeights(device, here(), parameters);
  const loaded = Float32Array.from(await table.data());
  expect(Buffer.compare(Buffer.from(loaded.buffer), Buffer.from(values.buffer))).toBe(0);
  parameters.dispose();
});
