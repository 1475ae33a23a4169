import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { FileEntry } from '../../../engine/safetensors.js';
import { asTransformersClip, readOpenClipConfig } from '../../../models/files/open_clip.js';
import type { WeightSource } from '../../../models/files/weights.js';
import { readConfig, readShapes } from '../rule.js';

/** A file of tensors whose bytes count up, with their shapes. */
function fileOf(shapes: Readonly<Record<string, readonly number[]>>, real = false): WeightSource {
  let offset = 0;
  const entries = Object.entries(shapes).map(([name, shape]): FileEntry => {
    const bytes = 2 * shape.reduce((product, n) => product * n, 1);
    offset += bytes;
    return { name, dtype: 'F16', shape, bytes, offset: offset - bytes };
  });
  const byName = new Map(entries.map((entry) => [entry.name, entry]));
  return {
    path: 'open_clip.pt',
    entries: byName,
    readBytes: async (name, range) => {
      const { bytes } = byName.get(name)!;
      const all = Uint8Array.from({ length: real ? bytes : 0 }, (_, i) => i);
      return range ? all.slice(range.start, range.start + range.bytes) : all;
    },
    close: async () => {},
  };
}

const shapesOf = ({ entries }: WeightSource) =>
  Object.fromEntries(Array.from(entries.values(), ({ name, shape }) => [name, [...shape]]));

// Of the first and the last layer of each tower.
test('HPSv2.1, which is OpenCLIP, has the weights of PickScore, which is of transformers', () => {
  const hpsv2 = fileOf(readShapes('hpsv21_openclip_vit_h14'));
  expect(shapesOf(asTransformersClip(hpsv2))).toEqual(readShapes('pickscore_v1'));
});

test('fused projections come apart by rows, matrices are turned, and other names stay', async () => {
  const file = fileOf(
    {
      'visual.proj': [3, 2],
      'transformer.resblocks.4.attn.in_proj_weight': [6, 2],
      'transformer.resblocks.4.attn.in_proj_bias': [6],
      attn_mask: [77, 77],
      something: [2],
    },
    true,
  );
  const view = asTransformersClip(file);
  const layer = 'text_model.encoder.layers.4.self_attn';
  expect(shapesOf(view)).toEqual({
    'visual_projection.weight': [2, 3],
    [`${layer}.q_proj.weight`]: [2, 2],
    [`${layer}.k_proj.weight`]: [2, 2],
    [`${layer}.v_proj.weight`]: [2, 2],
    [`${layer}.q_proj.bias`]: [2],
    [`${layer}.k_proj.bias`]: [2],
    [`${layer}.v_proj.bias`]: [2],
    something: [2],
  });
  const read = async (name: string, range?: { start: number; bytes: number }) => [
    ...(await view.readBytes(name, range)),
  ];
  expect(await read('visual_projection.weight')).toEqual([0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11]);
  expect(await read('visual_projection.weight', { start: 4, bytes: 4 })).toEqual([8, 9, 2, 3]);
  expect(await read(`${layer}.k_proj.weight`)).toEqual([8, 9, 10, 11, 12, 13, 14, 15]);
  expect(await read(`${layer}.v_proj.weight`, { start: 2, bytes: 2 })).toEqual([18, 19]);
  expect(await read(`${layer}.v_proj.bias`)).toEqual([8, 9, 10, 11]);
  // Where each lies in the file, so that it is read in order.
  expect(view.entries.get(`${layer}.v_proj.weight`)!.offset).toBe(12 + 16);
});

describe('configs', () => {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-openclip-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  test('without a file it is ViT-H-14, as PickScore has it', async () => {
    const { text_config, vision_config, projection_dim } = await readOpenClipConfig(folder);
    const expected = readConfig('pickscore_v1');
    expect(projection_dim).toBe(expected.projection_dim);
    expect(expected.text_config).toMatchObject(text_config);
    expect(expected.vision_config).toMatchObject(vision_config);
  });

  test('a file counts, and what it has not is a problem', async () => {
    const write = (config: unknown): void =>
      writeFileSync(join(folder, 'open_clip_config.json'), JSON.stringify(config));
    const vision_cfg = { width: 64, layers: 2, patch_size: 8, image_size: 32 };
    const text_cfg = { width: 32, heads: 4, layers: 3 };
    write({ model_cfg: { embed_dim: 24, quick_gelu: true, vision_cfg, text_cfg } });
    expect(await readOpenClipConfig(folder)).toMatchObject({
      projection_dim: 24,
      text_config: { hidden_size: 32, intermediate_size: 128, hidden_act: 'quick_gelu', vocab_size: 49408 },
      vision_config: { num_attention_heads: 1, image_size: 32, patch_size: 8 },
    });
    write({ model_cfg: { vision_cfg: {}, text_cfg } });
    await expect(readOpenClipConfig(folder)).rejects.toThrow(
      'open_clip_config.json\n  model_cfg.vision_cfg.width is missing, expected a positive integer',
    );
    write({ model_cfg: 'ViT-H-14' });
    await expect(readOpenClipConfig(folder)).rejects.toThrow('model_cfg is "ViT-H-14", expected an object');
  });
});
