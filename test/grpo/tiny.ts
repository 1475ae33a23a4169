/** What the tests of the trainer share: tiny model folders, a cheap reward, a configuration. */
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Device } from '../../engine/device/device.js';
import type { Tensor } from '../../engine/tensor/tensor.js';
import { packageRoot } from '../../engine/version.js';
import { defaults, type RunConfig } from '../../grpo/config.js';
import { type LoadedModel, loadPolicy, type ModelConfig } from '../../grpo/finetune/policy.js';
import type { Prompt } from '../../grpo/model.js';
import { CombinedReward, type CombineOptions } from '../../grpo/rewards/reward.js';
import type { TrainerConfig } from '../../grpo/trainer.js';

export const tinyModels = ['sd1', 'sd3'] as const;

export const tinyFolder = (name: string): string => join(packageRoot(), 'test', 'fixtures', 'pipelines', name);

/** A copy of a tiny model folder, below `into`, with other keys in its scheduler_config.json. */
export async function folderWithScheduler(
  into: string,
  name: string,
  changes: Readonly<Record<string, unknown>>,
): Promise<string> {
  const folder = join(into, `${name}-${Math.random().toString(36).slice(2)}`);
  await cp(tinyFolder(name), folder, { recursive: true });
  const path = join(folder, 'scheduler', 'scheduler_config.json');
  const given = JSON.parse(await readFile(path, 'utf8')) as Readonly<Record<string, unknown>>;
  await writeFile(path, JSON.stringify({ ...given, ...changes }));
  return folder;
}

/** A tiny model folder with a fresh adapter. */
export const loadTiny = (device: Device, name: string, config: Partial<ModelConfig> = {}): Promise<LoadedModel> => {
  const lora = { rank: 2, alpha: 4, targets: 'attention' };
  return loadPolicy(
    device,
    { model: { path: tinyFolder(name), weights: 'f16' }, lora, seed: 1, ...config },
    { maxSequenceLength: 5 },
  );
};

/** The mean of a picture's bytes, from 0 to 1. */
export const brightness = (options?: CombineOptions): CombinedReward => {
  const mean = (rgb: Uint8Array): number => rgb.reduce((sum, value) => sum + value, 0) / rgb.length / 255;
  const reward = {
    name: 'brightness',
    score: async (images: readonly { rgb: Uint8Array }[]) => images.map(({ rgb }) => mean(rgb)),
  };
  return new CombinedReward([{ weight: 1, reward }], options);
};

export const tinyPrompts: readonly Prompt[] = ['a red circle', 'the blue cat'].map((prompt) => ({ prompt, meta: {} }));

export interface TinyChanges {
  readonly sampler?: Partial<RunConfig['sampler']>;
  readonly grpo?: Partial<RunConfig['grpo']>;
  readonly rollout?: Partial<RunConfig['rollout']>;
  readonly train?: Partial<RunConfig['train']>;
  readonly workers?: Partial<RunConfig['workers']>;
}

/** Two groups of 6 -> 4 -> 3 in 5 steps. */
export function tinyConfig({ sampler, grpo, rollout, train, workers }: TinyChanges = {}): TrainerConfig {
  return {
    sampler: { ...defaults.sampler, steps: 5, noise: 0.7, eval_steps: 5, ...sampler },
    grpo: {
      ...defaults.grpo,
      keep: [6, 4, 3],
      prune_at: [2, 3],
      groups_per_update: 2,
      ...grpo,
    },
    rollout: { ...defaults.rollout, ...rollout },
    train: { ...defaults.train, betas: [0.9, 0.999], lr: 1e-3, micro_batch: 4, ...train },
    workers: { ...defaults.workers, ...workers },
    seed: 5,
  };
}

/** The bits of f32 tensors, one list each. */
export async function bitsOf(tensors: Iterable<Tensor>): Promise<number[][]> {
  const bits: number[][] = [];
  for (const each of tensors) bits.push(Array.from(new Uint32Array((await each.data()).slice().buffer)));
  return bits;
}
