/** What a person should know of a model's files reaches the ends of the commands. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type FileTensor, writeSafetensors } from '../../../engine/safetensors.js';
import { temporaryFolder } from '../../temporary.js';
import { winnow } from '../cli/output.js';
import { tinyFolder } from '../tiny.js';

const folder = temporaryFolder();
const layer = 'transformer_blocks.0.attn.to_q';

const config = join(folder, 'sd3.yaml');
await writeFile(
  config,
  `model: { path: ${tinyFolder('sd3')} }
lora: { rank: 2, targets: [${layer}] }
prompts: { train: scenes, test: scenes }
reward: { brightness: {} }
sampler: { steps: 2, kind: flow-sde }
grpo: { keep: [2], prune_at: [], prune: none, groups_per_update: 1 }
train: { updates: 1 }
sample: { seeds: [1] }
eval: { n: 1 }
`,
);

const zeros = (...shape: number[]): FileTensor => ({
  dtype: 'F32',
  shape,
  data: new Float32Array(shape.reduce((size, n) => size * n, 1)),
});
const pair = (key: string, width: number) => ({
  [`${key}.lora_A.weight`]: zeros(2, width),
  [`${key}.lora_B.weight`]: zeros(width, 2),
});
const adapter = join(folder, 'adapter.safetensors');
const text = 'text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj';
await writeSafetensors(adapter, { ...pair(`transformer.${layer}`, 16), ...pair(text, 12) }, { format: 'pt' });

const zerosOfT5 = expect.stringContaining("256 tokens of zeros stand in the place of T5's");
const notApplied = expect.stringContaining('not applied: 1 adapter of text_encoder_2 (2 tensors)');

describe('a folder without T5, an adapter with a part for a text encoder', () => {
  test.each([
    ['eval', [config, '--lora', adapter], true],
    ['inspect', [config, '--out', join(folder, 'inspect.png')], false],
  ])('%s tells them on stderr', async (command, args, adapted) => {
    const { status, stderr } = await winnow(command, ...args);
    expect([status, stderr]).toEqual([0, zerosOfT5]);
    if (adapted) expect(stderr).toEqual(notApplied);
  });

  test('train tells them as events', async () => {
    const args = [config, '--init-lora', adapter, '--out', join(folder, 'runs'), '--json'];
    const { status, stdout, stderr } = await winnow('train', ...args);
    expect(status, stderr).toBe(0);
    expect(stdout + stderr).toEqual(zerosOfT5);
    expect(stdout + stderr).toEqual(notApplied);
  });
});
