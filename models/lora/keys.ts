/** The keys of a file of LoRA weights, sorted by the layers that they are for. */
import type { SafetensorsFile } from '../../engine/safetensors.js';

/** The keys of a module's two halves, and in kohya's layout of its alpha. */
export interface Pair {
  down?: string;
  up?: string;
  alpha?: string;
}

const components = /^(unet|transformer|text_encoder(_\d)?)\./;
const down = /^(.+?)\.(?:lora_A(?:\.default)?|lora\.down|lora_linear_layer\.down)\.weight$/;
const up = /^(.+?)\.(?:lora_B(?:\.default)?|lora\.up|lora_linear_layer\.up)\.weight$/;
const processor = /^(.+)\.processor\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight$/;

/** Sorts the keys behind `prefix` by module. */
export function pairKeys(file: SafetensorsFile, prefix: string): { pairs: Map<string, Pair>; problems: string[] } {
  const pairs = new Map<string, Pair>();
  const problems: string[] = [];
  for (const key of file.entries.keys()) {
    if (!key.startsWith(prefix)) {
      if (!components.test(key)) problems.push(`${key} is in the file, expected keys that begin with ${prefix}`);
      continue;
    }
    const module = moduleOf(key.slice(prefix.length));
    if (!module) {
      problems.push(`${key} is in the file, expected lora_A.weight or lora_B.weight of a layer`);
      continue;
    }
    const pair = pairs.get(module.name) ?? {};
    pair[module.half] = key;
    pairs.set(module.name, pair);
  }
  if (pairs.size === 0 && problems.length === 0)
    problems.push(`no adapter of this network: expected keys that begin with ${prefix}`);
  return { pairs, problems };
}

const kohyaPrefix = /^lora_(unet|transformer|te\d*)_/;
const kohyaKey = /^lora_(?:unet|transformer)_(.+)\.(lora_down\.weight|lora_up\.weight|alpha)$/;
const kohyaParts = { 'lora_down.weight': 'down', 'lora_up.weight': 'up', alpha: 'alpha' } as const;

/** Whether a file has kohya's keys: `lora_unet_..._to_q.lora_down.weight`. */
export const isKohya = (file: SafetensorsFile): boolean =>
  [...file.entries.keys()].some((key) => kohyaPrefix.test(key));

/**
 * Sorts kohya's keys by module. They have underscores for the dots of a name, which only the names of the network's layers
 * bring back. Text encoders (`lora_te`) are passed over.
 */
export function kohyaPairs(
  file: SafetensorsFile,
  layers: Iterable<string>,
): { pairs: Map<string, Pair>; problems: string[] } {
  const names = new Map(Array.from(layers, (name) => [name.replaceAll('.', '_'), name]));
  const pairs = new Map<string, Pair>();
  const problems: string[] = [];
  for (const key of file.entries.keys()) {
    if (/^lora_te\d*_/.test(key)) continue;
    const [, flat, part] = kohyaKey.exec(key) ?? [];
    const name = flat && names.get(flat);
    if (!flat || !part)
      problems.push(`${key} is in the file, expected lora_down.weight, lora_up.weight or alpha of a layer`);
    else if (!name) problems.push(`${key} is for a layer that the network does not have as a linear one`);
    else pairs.set(name, { ...pairs.get(name), [kohyaParts[part as keyof typeof kohyaParts]]: key });
  }
  if (pairs.size === 0 && problems.length === 0)
    problems.push('no adapter of this network: expected keys that begin with lora_unet_ or lora_transformer_');
  return { pairs, problems };
}

function moduleOf(key: string): { name: string; half: 'down' | 'up' } | undefined {
  const old = processor.exec(key);
  if (old) {
    const layer = old[2] === 'to_out' ? 'to_out.0' : old[2];
    return { name: `${old[1]}.${layer}`, half: old[3] === 'down' ? 'down' : 'up' };
  }
  const [first, second] = [down.exec(key), up.exec(key)];
  if (first) return { name: first[1]!, half: 'down' };
  return second ? { name: second[1]!, half: 'up' } : undefined;
}
