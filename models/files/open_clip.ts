/** OpenCLIP's checkpoints as transformers' CLIPModel: other names, fused projections taken apart, matrices turned. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileEntry, FileTensor } from '../../engine/safetensors.js';
import type { Parameters } from '../blocks/parameters.js';
import { type CLIPConfig, clipConfig } from '../networks/clip.js';
import { isCount } from './config.js';
import { takeConfig } from './config_file.js';
import { ModelFileError } from './errors.js';
import { readable, readJson, shown } from './weight_files.js';
import { fileElements, type WeightSource } from './weights.js';

/** A part of a tensor in the file: rows of its first axis by thirds, or all of it transposed. */
interface Part {
  readonly name: string;
  readonly third?: 0 | 1 | 2;
  readonly transposed?: boolean;
}

const fixedNames: Readonly<Record<string, Part>> = {
  logit_scale: { name: 'logit_scale' },
  text_projection: { name: 'text_projection.weight', transposed: true },
  positional_embedding: { name: 'text_model.embeddings.position_embedding.weight' },
  'token_embedding.weight': { name: 'text_model.embeddings.token_embedding.weight' },
  'ln_final.weight': { name: 'text_model.final_layer_norm.weight' },
  'ln_final.bias': { name: 'text_model.final_layer_norm.bias' },
  'visual.class_embedding': { name: 'vision_model.embeddings.class_embedding' },
  'visual.positional_embedding': { name: 'vision_model.embeddings.position_embedding.weight' },
  'visual.conv1.weight': { name: 'vision_model.embeddings.patch_embedding.weight' },
  'visual.ln_pre.weight': { name: 'vision_model.pre_layrnorm.weight' },
  'visual.ln_pre.bias': { name: 'vision_model.pre_layrnorm.bias' },
  'visual.ln_post.weight': { name: 'vision_model.post_layernorm.weight' },
  'visual.ln_post.bias': { name: 'vision_model.post_layernorm.bias' },
  'visual.proj': { name: 'visual_projection.weight', transposed: true },
};

const layerNames: Readonly<Record<string, string>> = {
  ln_1: 'layer_norm1',
  ln_2: 'layer_norm2',
  'mlp.c_fc': 'mlp.fc1',
  'mlp.c_proj': 'mlp.fc2',
  'attn.out_proj': 'self_attn.out_proj',
};

/** The weights that a tensor of OpenCLIP holds. Names that are not OpenCLIP's stay as they are. */
function partsOf(name: string): Part[] {
  const fixed = fixedNames[name];
  if (fixed) return [fixed];
  const match = /^(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)$/.exec(name);
  if (!match) return [{ name }];
  const [, visual, layer, rest, end] = match;
  const prefix = `${visual ? 'vision' : 'text'}_model.encoder.layers.${layer}`;
  if (rest === 'attn.in_proj') {
    return (['q', 'k', 'v'] as const).map((letter, third) => ({
      name: `${prefix}.self_attn.${letter}_proj.${end}`,
      third: third as 0 | 1 | 2,
    }));
  }
  return [{ name: `${prefix}.${layerNames[rest!] ?? rest}.${end}` }];
}

/** A view of an open file of OpenCLIP's under the names and shapes of transformers' CLIPModel. */
export function asTransformersClip(file: WeightSource): WeightSource {
  const entries = new Map<string, FileEntry>();
  const sources = new Map<string, { readonly entry: FileEntry; readonly part: Part }>();
  for (const entry of file.entries.values()) {
    if (entry.name === 'attn_mask') continue; // a buffer of some versions
    for (const part of partsOf(entry.name)) {
      const { name, third, transposed } = part;
      const [rows = 1, ...rest] = entry.shape;
      const shape =
        transposed && rest.length === 1
          ? [rest[0]!, rows]
          : third === undefined
            ? entry.shape
            : [Math.floor(rows / 3), ...rest];
      const bytes = third === undefined ? entry.bytes : Math.floor(entry.bytes / 3);
      const offset = entry.offset + (third ?? 0) * bytes;
      entries.set(name, { ...entry, name, shape, bytes, offset });
      sources.set(name, { entry, part });
    }
  }
  return {
    path: file.path,
    entries,
    async readBytes(name, range) {
      const { entry, part } = sources.get(name)!;
      const { bytes } = entries.get(name)!;
      const { start, bytes: length } = range ?? { start: 0, bytes };
      const before = (part.third ?? 0) * bytes;
      if (!part.transposed || entry.shape.length !== 2)
        return file.readBytes(entry.name, { start: before + start, bytes: length });
      const all = transpose(await file.readBytes(entry.name), entry.shape as readonly [number, number]);
      return all.slice(start, start + length);
    },
    close: () => file.close(),
  };
}

/** The bytes of a matrix [rows, columns] in the order of its columns. */
function transpose(bytes: Uint8Array, [rows, columns]: readonly [number, number]): Uint8Array {
  const element = bytes.length / (rows * columns);
  const out = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const from = (row * columns + column) * element;
      out.set(bytes.subarray(from, from + element), (column * rows + row) * element);
    }
  }
  return out;
}

/** The model_cfg of an open_clip_config.json. */
interface OpenClipConfig {
  readonly embed_dim: number;
  readonly quick_gelu?: boolean;
  readonly vision_cfg: Readonly<Record<string, unknown>>;
  readonly text_cfg: Readonly<Record<string, unknown>>;
}

/** OpenCLIP's ViT-H-14, which HPSv2 and PickScore are made of. */
const vitH14: OpenClipConfig = {
  embed_dim: 1024,
  vision_cfg: { image_size: 224, layers: 32, width: 1280, head_width: 80, patch_size: 14 },
  text_cfg: { context_length: 77, vocab_size: 49408, width: 1024, heads: 16, layers: 24 },
};

/** OpenCLIP's config as transformers has it. The end of a text is its largest id, as OpenCLIP looks for it. */
function clipConfigOf({ embed_dim, quick_gelu = false, vision_cfg, text_cfg }: OpenClipConfig, path: string) {
  const problems: string[] = [];
  const count = (name: 'vision_cfg' | 'text_cfg', key: string, usual?: number): number => {
    const value = (name === 'vision_cfg' ? vision_cfg : text_cfg)[key] ?? usual;
    if (isCount(value)) return value;
    problems.push(`model_cfg.${name}.${key} is ${shown(value)}, expected a positive integer`);
    return 1;
  };
  const tower = (name: 'vision_cfg' | 'text_cfg', heads: (width: number) => number) => {
    const width = count(name, 'width');
    const ratio = (name === 'vision_cfg' ? vision_cfg : text_cfg).mlp_ratio ?? 4;
    return {
      hidden_size: width,
      intermediate_size: Math.trunc(width * Number(ratio)),
      num_hidden_layers: count(name, 'layers'),
      num_attention_heads: heads(width),
      hidden_act: quick_gelu ? ('quick_gelu' as const) : ('gelu' as const),
    };
  };
  const config = {
    projection_dim: embed_dim,
    text_config: {
      ...tower('text_cfg', () => count('text_cfg', 'heads')),
      vocab_size: count('text_cfg', 'vocab_size', 49408),
      max_position_embeddings: count('text_cfg', 'context_length', 77),
      eos_token_id: 2, // transformers' sign for the largest id
    },
    vision_config: {
      ...tower('vision_cfg', (width) => Math.floor(width / count('vision_cfg', 'head_width', 64))),
      image_size: count('vision_cfg', 'image_size', 224),
      patch_size: count('vision_cfg', 'patch_size'),
    },
  } satisfies CLIPConfig;
  if (!isCount(embed_dim)) problems.push(`model_cfg.embed_dim is ${shown(embed_dim)}, expected a positive integer`);
  if (problems.length > 0) throw new ModelFileError(path, problems);
  takeConfig(path, config, clipConfig);
  return config;
}

/** The folder's open_clip_config.json as transformers' config; ViT-H-14 where there is none. */
export async function readOpenClipConfig(folder: string): Promise<ReturnType<typeof clipConfigOf>> {
  const path = join(folder, 'open_clip_config.json');
  if (!(await readable(folder, () => readdir(folder))).includes('open_clip_config.json'))
    return clipConfigOf(vitH14, path);
  const { model_cfg } = await readJson(path);
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isObject(model_cfg) || !isObject(model_cfg.vision_cfg) || !isObject(model_cfg.text_cfg))
    throw new ModelFileError(path, [
      `model_cfg is ${shown(model_cfg)}, expected an object with vision_cfg and text_cfg`,
    ]);
  return clipConfigOf(model_cfg as unknown as OpenClipConfig, path); // its values are checked there
}

/** A CLIPModel's config as OpenCLIP's model_cfg. */
export function openClipConfigOf(config: {
  readonly projection_dim: number;
  readonly text_config: Readonly<Record<string, unknown>>;
  readonly vision_config: Readonly<Record<string, unknown>>;
}): OpenClipConfig {
  const { projection_dim, text_config: text, vision_config: vision } = config;
  return {
    embed_dim: projection_dim,
    quick_gelu: text.hidden_act === 'quick_gelu',
    vision_cfg: {
      image_size: vision.image_size,
      layers: vision.num_hidden_layers,
      width: vision.hidden_size,
      head_width: Number(vision.hidden_size) / Number(vision.num_attention_heads),
      patch_size: vision.patch_size,
    },
    text_cfg: {
      context_length: text.max_position_embeddings,
      vocab_size: text.vocab_size,
      width: text.hidden_size,
      heads: text.num_attention_heads,
      layers: text.num_hidden_layers,
    },
  };
}

/** The weights of a CLIPModel as a file of OpenCLIP's has them: the inverse of asTransformersClip. */
export function openClipTensors(parameters: Pick<Parameters, 'all'>, dtype: 'F32' | 'F16'): Record<string, FileTensor> {
  const values = new Map(parameters.all.map(({ name, tensor }) => [name, tensor]));
  const tensors: Record<string, FileTensor> = {};
  const add = (name: string, parts: readonly string[], transposed = false): void => {
    const sources = parts.map((part) => values.get(part)!);
    const [rows = 1, ...rest] = sources[0]!.shape;
    const stacked = sources[0]!.shape.length === 0 ? [] : [rows * parts.length, ...rest];
    const shape = transposed ? [rest[0]!, rows] : stacked;
    tensors[name] = {
      dtype,
      shape,
      data: async () => {
        const values = await Promise.all(sources.map((source) => source.data()));
        const all = new Float32Array(sources[0]!.size * sources.length);
        for (const [i, own] of values.entries()) all.set(own, i * sources[0]!.size);
        const elements = fileElements(all, dtype, name);
        if (!transposed) return elements;
        return transpose(new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength), [rows, rest[0]!]);
      },
    };
    for (const part of parts) values.delete(part);
  };
  for (const [name, { name: own, transposed }] of Object.entries(fixedNames)) add(name, [own], transposed);
  for (const [prefix, tower] of [
    ['', 'text'],
    ['visual.', 'vision'],
  ] as const) {
    for (let i = 0; values.has(`${tower}_model.encoder.layers.${i}.layer_norm1.weight`); i++) {
      const [from, to] = [`${tower}_model.encoder.layers.${i}`, `${prefix}transformer.resblocks.${i}`];
      for (const end of ['weight', 'bias']) {
        for (const [name, own] of Object.entries(layerNames)) add(`${to}.${name}.${end}`, [`${from}.${own}.${end}`]);
        const projections = ['q', 'k', 'v'].map((letter) => `${from}.self_attn.${letter}_proj.${end}`);
        add(`${to}.attn.in_proj_${end}`, projections);
      }
    }
  }
  const left = [...values.keys()];
  if (left.length > 0) throw new Error(`open_clip: no name for ${left.join(', ')}`);
  return tensors;
}
