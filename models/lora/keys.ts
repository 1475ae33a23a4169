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

/** Keys of a file, sorted. */
interface SortedKeys {
  readonly pairs: Map<string, Pair>;
  readonly problems: string[];
  /** The keys of other components, by their names. */
  readonly others: ReadonlyMap<string, readonly string[]>;
}

/** Sorts the keys behind `prefix` by module, and those of other components by these. */
export function pairKeys(file: SafetensorsFile, prefix: string): SortedKeys {
  const pairs = new Map<string, Pair>();
  const problems: string[] = [];
  const others = new Map<string, string[]>();
  for (const key of file.entries.keys()) {
    if (!key.startsWith(prefix)) {
      const other = components.exec(key)?.[1];
      if (other === undefined) problems.push(`${key} is in the file, expected keys that begin with ${prefix}`);
      else others.set(other, [...(others.get(other) ?? []), key]);
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
  return { pairs, problems, others };
}

/** What of a file is not applied: `1 adapter of text_encoder (2 tensors)`. */
export function notApplied(others: SortedKeys['others']): string[] {
  return Array.from(others, ([component, keys]) => {
    const modules = new Set(keys.map((key) => moduleOf(key)?.name ?? key)).size;
    return `${modules} adapter${modules === 1 ? '' : 's'} of ${component} (${keys.length} tensors)`;
  });
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
export function kohyaPairs(file: SafetensorsFile, layers: Iterable<string>): SortedKeys {
  const names = new Map(Array.from(layers, (name) => [name.replaceAll('.', '_'), name]));
  const pairs = new Map<string, Pair>();
  const problems: string[] = [];
  const others = new Map<string, string[]>();
  for (const key of file.entries.keys()) {
    if (/^lora_te\d*_/.test(key)) {
      others.set('text_encoder', [...(others.get('text_encoder') ?? []), key]);
      continue;
    }
    const [, flat, part] = kohyaKey.exec(key) ?? [];
    const name = flat && names.get(flat);
    if (!flat || !part)
      problems.push(`${key} is in the file, expected lora_down.weight, lora_up.weight or alpha of a layer`);
    else if (!name) problems.push(`${key} is for a layer that the network does not have as a linear one`);
    else pairs.set(name, { ...pairs.get(name), [kohyaParts[part as keyof typeof kohyaParts]]: key });
  }
  if (pairs.size === 0 && problems.length === 0)
    problems.push('no adapter of this network: expected keys that begin with lora_unet_ or lora_transformer_');
  return { pairs, problems, others };
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
