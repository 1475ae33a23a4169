/** Writing files of LoRA weights, in the layouts of PEFT, diffusers and kohya. */
import { join } from 'node:path';
import { type FileTensor, writeSafetensors } from '../../engine/safetensors.js';
import { writeJson } from '../files/weight_files.js';
import { fileTensor } from '../files/weights.js';
import { type LoraComponent, loraFiles, peftConfig, peftPrefix } from './layouts.js';
import type { LoraModule } from './lora.js';

export interface SaveLoraOptions {
  /**
   * - `diffusers`: pytorch_lora_weights.safetensors for load_lora_weights(). It takes alpha for the rank, so "B" carries
   *   the factor alpha / rank.
   * - `peft`: adapter_model.safetensors and adapter_config.json for PeftModel.from_pretrained().
   * - `kohya`: kohya_lora.safetensors, with alpha beside the weights, for ComfyUI and others. diffusers reads that of a
   *   UNet and passes over that of a transformer.
   */
  readonly format: 'diffusers' | 'peft' | 'kohya';
  readonly component: LoraComponent;
  /** Default F32. */
  readonly dtype?: 'F32' | 'F16';
}

/** What of a Lora goes into a file. */
export interface LoraWeights {
  readonly modules: readonly Pick<LoraModule, 'name' | 'down' | 'up'>[];
  readonly rank: number;
  readonly alpha: number;
}

/** Writes the adapters into `folder`, which exists. Returns the path of the weights. */
export async function saveLora(
  folder: string,
  lora: LoraWeights,
  { format, component, dtype = 'F32' }: SaveLoraOptions,
): Promise<string> {
  const scale = lora.alpha / lora.rank;
  const tensors: Record<string, FileTensor> = {};
  for (const { name, down, up } of lora.modules) {
    if (format === 'kohya') {
      const key = `lora_${component}_${name.replaceAll('.', '_')}`;
      tensors[`${key}.lora_down.weight`] = fileTensor(down, dtype);
      tensors[`${key}.lora_up.weight`] = fileTensor(up, dtype);
      tensors[`${key}.alpha`] = { dtype: 'F32', shape: [], data: Float32Array.of(scale * down.shape[0]!) };
    } else {
      const key = format === 'peft' ? peftPrefix + name : `${component}.${name}`;
      tensors[`${key}.lora_A.weight`] = fileTensor(down, dtype);
      tensors[`${key}.lora_B.weight`] = fileTensor(up, dtype, format === 'peft' ? 1 : scale);
    }
  }
  const path = join(folder, loraFiles[format]);
  await writeSafetensors(path, tensors, { format: 'pt' }); // loaders of PyTorch ask for the format
  if (format === 'peft') await writeJson(join(folder, peftConfig), adapterConfig(lora));
  return path;
}

/** PEFT's LoraConfig, with the keys that older versions expect and none that they don't know. */
function adapterConfig({ modules, rank, alpha }: LoraWeights): Record<string, unknown> {
  const others = modules.filter(({ down }) => down.shape[0] !== rank);
  const pattern = (value: (own: number) => number) =>
    Object.fromEntries(others.map(({ name, down }) => [name.replaceAll('.', '\\.'), value(down.shape[0]!)]));
  return {
    peft_type: 'LORA',
    task_type: null,
    base_model_name_or_path: null,
    auto_mapping: null,
    revision: null,
    r: rank,
    lora_alpha: alpha,
    target_modules: modules.map(({ name }) => name),
    rank_pattern: pattern((own) => own),
    alpha_pattern: pattern((own) => (own * alpha) / rank),
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: 'gaussian',
    layers_to_transform: null,
    layers_pattern: null,
    modules_to_save: null,
    use_rslora: false,
    use_dora: false,
  };
}
