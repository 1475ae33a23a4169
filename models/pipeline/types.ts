/** What all pipelines have in common, whatever their kind. */
import type { Device, Tensor } from '../../engine/index.js';
import type { ForwardOptions } from '../blocks/block.js';
import type { Parameters } from '../blocks/parameters.js';
import type { ResolvedConfig } from '../files/config.js';
import type { AutoencoderKL } from '../networks/vae.js';
import type { PipelineKind } from './kinds.js';
import type { Scheduler } from './scheduler.js';

/** The networks of a folder, which may not have their memory yet. */
export interface PipelineNetworks<Kind extends PipelineKind, Network, Table> {
  readonly kind: Kind;
  /** The network that denoises. */
  readonly network: Network;
  /** Its config.json, with the defaults. */
  readonly config: ResolvedConfig<Table>;
  /** Its weights, by name; LoRA goes on their linear layers. */
  readonly parameters: Parameters;
  readonly vae: AutoencoderKL;
  /** [channels, height, width] of the latents, height and width unless asked otherwise. */
  readonly latentShape: readonly [number, number, number];
  readonly latentChannels: number;
  /** The height alone, which is the width too but for networks whose config says another. */
  readonly latentSize: number;
}

/** From prompts to conditions, and from latents to predictions, in the same way for every kind. */
export interface PipelineCalls {
  /** The tensors that `predict` needs for these prompts, each [prompts, ...]. DiT's prompts are names or numbers of classes. */
  encode(prompts: readonly string[]): Tensor[];
  /** The end of a prompt that none of the text encoders reads, for it is too long; usually empty. */
  cut(prompt: string): string;
  /** What the network predicts, [N, C, H, W]: a flow's velocity (sd3), or what `scheduler` says of diffusion. `timestep` is [N] or [1]. */
  predict(latents: Tensor, timestep: Tensor, condition: readonly Tensor[], options?: ForwardOptions): Tensor;
}

/** A declared folder: `open` reads its tokenizers and gives the calls, for a device on which the weights are going to be. */
export interface DeclaredPipeline<Kind extends PipelineKind, Network, Table>
  extends PipelineNetworks<Kind, Network, Table> {
  open(device: Device): Promise<PipelineCalls>;
}

/** What a folder has once it is loaded. */
export interface LoadedPipeline extends PipelineCalls {
  readonly device: Device;
  /** The noise schedule that scheduler/scheduler_config.json asks for. */
  readonly scheduler: Scheduler;
  /** Frees every weight. */
  dispose(): void;
}
