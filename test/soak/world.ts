/** What the cases of the property tests are made in: a folder with right files of every kind, and a device for all. */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Device } from '../../engine/index.js';
import { writeSafetensors } from '../../engine/safetensors.js';
import { packageRoot } from '../../engine/version.js';
import { writeCheckpoint } from '../../grpo/checkpoint.js';
import { loadConfig } from '../../grpo/finetune/config/file.js';
import { loadModel } from '../../grpo/finetune/model.js';
import { RunFolder } from '../../grpo/finetune/run/folder.js';
import { describeRun } from '../../grpo/finetune/run/info.js';
import { encodePng } from '../../models/pictures/png.js';

/** The kinds of model folders, each a tiny one. */
export const modelKinds = ['sd1', 'sd3', 'dit'] as const;
export type ModelKind = (typeof modelKinds)[number];

export interface World {
  readonly folder: string;
  readonly device: Device;
  at(...names: string[]): string;
  model(kind: ModelKind): string;
  /** A configuration as JSON, which is YAML too. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Folders of adapters, one a layout. */
  readonly adapters: readonly string[];
  close(): Promise<void>;
}

/** Makes the folder and opens the device. */
export async function createWorld(): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'winnow-soak-'));
  const at = (...names: string[]): string => join(folder, ...names);
  const model = (kind: ModelKind): string => join(packageRoot(), 'test', 'fixtures', 'pipelines', kind);
  const config = {
    model: { path: model('sd1'), weights: 'f32' },
    lora: { rank: 2, alpha: 4, targets: 'attention' },
    prompts: { train: at('prompts.txt'), test: at('prompts.jsonl') },
    reward: { brightness: { weight: 1 }, color: { weight: 0.5, timeout_s: 3 } },
    sampler: { steps: 4, kind: 'ddim', noise: 1, eval_steps: 3 },
    grpo: { keep: [4, 3, 2], prune_at: [1, 2], groups_per_update: 2, clip: 1e-4 },
    train: { updates: 4, lr: 1e-2, micro_batch: 4, betas: [0.9, 0.999] },
    save: { every: 2, keep: 2 },
    sample: { seeds: [1, 2] },
    eval: { n: 6, rewards: [] },
    seed: 5,
  };
  await writeFile(at('prompts.txt'), 'a red circle\nthe blue cat\n');
  await writeFile(at('prompts.jsonl'), '{"prompt": "the red cat", "count": 1}\n{"prompt": "a blue circle"}\n');
  await writeFile(at('config.json'), JSON.stringify(config, null, 1));
  await writeFile(at('config.yaml'), JSON.stringify(config, null, 1));
  await writeFile(at('picture.png'), encodePng({ width: 2, height: 1, rgb: new Uint8Array(6) }));
  await writeSafetensors(at('tensor.safetensors'), { a: { dtype: 'F32', shape: [2], data: Float32Array.of(1, 2) } });
  await writeFile(at('page.html'), '<!doctype html><html></html>');
  await mkdir(at('empty'));
  await mkdir(at('prompts'));
  for (const name of ['prompts.txt', 'prompts.jsonl']) await cp(at(name), at('prompts', name));

  const device = await Device.create({ provideDriver: true, quiet: true });
  const adapters: string[] = [];
  const trained = await loadModel(model('sd1'), { device, lora: { rank: 2, alpha: 4 } });
  for (const format of ['diffusers', 'peft', 'kohya'] as const) {
    await trained.save(at(`adapter-${format}`), { format });
    adapters.push(at(`adapter-${format}`));
  }
  await makeRun(at('runs', 'whole'), at('config.yaml'), device, trained);
  await cp(at('runs', 'whole'), at('runs', 'other'), { recursive: true });
  trained.close();
  return {
    folder,
    device,
    at,
    model,
    config,
    adapters,
    close: async () => {
      device.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A run's folder as training leaves it, with two checkpoints. */
async function makeRun(
  path: string,
  source: string,
  device: Device,
  model: Awaited<ReturnType<typeof loadModel>>,
): Promise<void> {
  const config = await loadConfig(source);
  const { policy } = model.learning;
  const info = await describeRun({ config, device, model: policy });
  const run = await RunFolder.create(path, config, { ...info, status: 'done', updates: 4 });
  for (const updates of [2, 4]) {
    const tensors = { adapter: policy.trainable, optimizer: policy.trainable };
    await writeCheckpoint(run.checkpoint(updates), { tensors, counters: { updates, steps: updates } }, config);
    await run.append('metrics', [{ update: updates }]);
  }
}
