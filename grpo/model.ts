/** What the trainer needs of a model. grpo/finetune/policy.ts makes it of a model folder and an adapter. */
import type { Device, Tensor } from '../engine/index.js';
import type { StepKind } from './config.js';
import type { Policy } from './sampling/sampler.js';
import type { NoiseSchedule } from './sampling/transitions.js';

/** A prompt, and what else its line in a .jsonl file says, for rewards. */
export interface Prompt {
  readonly prompt: string;
  readonly meta: Readonly<Record<string, unknown>>;
}

/** A flow or a diffusion model whose network is to learn. */
export interface GenerativeModel {
  readonly device: Device;
  /** What the network predicts: a flow's velocity (noise - data), or what a schedule of diffusion says: noise, velocity, or data. */
  readonly kind: 'flow' | 'diffusion';
  /** [channels, height, width] of a sample. */
  readonly latentShape: readonly [number, number, number];
  /** [height, width] of a picture, in pixels. */
  readonly pictureSize: readonly [number, number];
  /** The noise levels of `steps` sampling steps, for rollouts by steps of the kind `step` or for evaluation. */
  schedule(steps: number, step?: StepKind): NoiseSchedule;
  /** The condition under these prompts: f32 or u32 tensors, each [prompts, ...], of shapes that do not depend on the text. */
  encode(prompts: readonly string[]): Tensor[];
  /** The prompt that guidance leads away from. Default: the empty one. */
  readonly negativePrompt?: string | undefined;
  /** The network with its adapter. A sample's bits must not depend on its batch, nor on whether gradients are recorded. */
  readonly predict: Policy;
  /** Latents [N, ...] to pictures [N, 3, H, W] with values in [-1, 1]. */
  decode(latents: Tensor): Tensor;
  /** What learns, by name: f32 leaves that need a gradient. */
  readonly trainable: ReadonlyMap<string, Tensor>;
  /** Runs `body` on the network without its adapter. Absent where it has none. */
  reference?<R>(body: () => R): R;
}
