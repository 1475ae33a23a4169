/** The kinds of model folders, and all that differs between them but their code: one row a kind. */
import type { LoraComponent } from '../lora/layouts.js';

export type PipelineKind = 'sd1' | 'sd3' | 'dit';

/** What a program has to know of a kind. */
export interface PipelineRow {
  /** `_class_name` in model_index.json. */
  readonly className: string;
  /** The process that the network is of: a rectified flow, whose velocity it predicts, or diffusion, of which its scheduler says what. */
  readonly prediction: 'flow' | 'diffusion';
  /** The folder of the network that denoises, by which files of LoRA weights name it too. */
  readonly component: LoraComponent;
  /** The scale of classifier-free guidance that its authors sample with. */
  readonly guidance: number;
  /** Sampling steps with noise: Flow-GRPO's for flows, DDIM's for diffusion. */
  readonly step: 'flow-sde' | 'ddim';
  /** Whether prompts are names or numbers of classes, of which only the model knows which there are. */
  readonly promptsAreClasses: boolean;
  /** The subfolders without which nothing can be loaded. */
  readonly folders: readonly string[];
  /** Text encoders with their tokenizers. model_index.json may have null for them; then conditions have to be given. */
  readonly texts: readonly (readonly [encoder: string, tokenizer: string])[];
}

export const pipelineKinds: Readonly<Record<PipelineKind, PipelineRow>> = {
  /** Stable Diffusion 1.x and 2.x. */
  sd1: {
    className: 'StableDiffusionPipeline',
    prediction: 'diffusion',
    component: 'unet',
    guidance: 7.5,
    step: 'ddim',
    promptsAreClasses: false,
    folders: ['scheduler', 'unet', 'vae'],
    texts: [['text_encoder', 'tokenizer']],
  },
  /** Stable Diffusion 3.x. */
  sd3: {
    className: 'StableDiffusion3Pipeline',
    prediction: 'flow',
    component: 'transformer',
    guidance: 4.5,
    step: 'flow-sde',
    promptsAreClasses: false,
    folders: ['scheduler', 'transformer', 'vae'],
    texts: [
      ['text_encoder', 'tokenizer'],
      ['text_encoder_2', 'tokenizer_2'],
      ['text_encoder_3', 'tokenizer_3'],
    ],
  },
  /** Class-conditional DiT. */
  dit: {
    className: 'DiTPipeline',
    prediction: 'diffusion',
    component: 'transformer',
    guidance: 4,
    step: 'ddim',
    promptsAreClasses: true,
    folders: ['scheduler', 'transformer', 'vae'],
    texts: [],
  },
};
