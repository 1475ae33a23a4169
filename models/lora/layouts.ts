/** The names that files of LoRA weights have, in the layouts of PEFT, diffusers and kohya, and that they give to a network. */

/** The part of a pipeline that adapters belong to; files name it. */
export type LoraComponent = 'unet' | 'transformer';

/** What PEFT puts before the name of every layer. */
export const peftPrefix = 'base_model.model.';

/** PEFT's config beside its weights. */
export const peftConfig = 'adapter_config.json';

/** The file of weights in each layout. */
export const loraFiles = {
  diffusers: 'pytorch_lora_weights.safetensors',
  peft: 'adapter_model.safetensors',
  kohya: 'kohya_lora.safetensors',
} as const;
