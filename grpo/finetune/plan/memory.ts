/** The GPU memory that a run keeps, read from a model folder's files without loading them. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { findWeights, openWeights, readJson } from '../../../models/files/weight_files.js';
import { isTarget, targetsNamed } from '../../../models/lora/lora.js';
import type { RunConfig } from '../../config.js';
import { callSizeOf, slotsOf } from '../../rollout/turns.js';

export interface MemoryPart {
  readonly part: string;
  readonly bytes: number;
}

/** A weight as the file's header has it. */
interface Weight {
  readonly name: string;
  readonly shape: readonly number[];
}

const components = ['unet', 'transformer', 'text_encoder', 'text_encoder_2', 'text_encoder_3', 'vae'];
const sizeOf = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);
const sumOf = <T>(items: readonly T[], value: (item: T) => number): number =>
  items.reduce((sum, item) => sum + value(item), 0);

/**
 * What stays on the GPU for the whole run, part by part: weights of each component, what learns with AdamW's moments, the
 * gathered gradient and the moving average, and the trajectories of an update. Activations are not in it: they need the
 * network itself (`plan --probe`). Throws a ModelFileError for folders that can't be read.
 */
export async function keptMemory(folder: string, config: RunConfig): Promise<MemoryPart[]> {
  const { model, lora, sampler, grpo, train } = config;
  const index = await readJson(join(folder, 'model_index.json'));
  const parts: MemoryPart[] = [];
  let network: readonly Weight[] = [];
  let networkName = '';
  for (const name of components) {
    // Components that a pipeline has but this folder lacks stand as [null, null].
    if (!(Array.isArray(index[name]) && index[name][0] !== null)) continue;
    const path = join(folder, name);
    if (name === 'text_encoder_3' && !(await stat(path).catch(() => undefined))) continue; // T5 may be left out
    const weights = await weightsOf(path);
    if (name === 'unet' || name === 'transformer') [network, networkName] = [weights, name];
    // Matrices and convolutions are kept as configured, vectors in f32.
    const matrix = model.weights === 'f16' ? 2 : 4;
    parts.push({ part: name, bytes: sumOf(weights, ({ shape }) => sizeOf(shape) * (shape.length > 1 ? matrix : 4)) });
  }
  const own = network.filter(({ name }) => !train.weights || isTarget(name, train.weights));
  const learned = lora ? adapterSize(network, lora) : sumOf(own, ({ shape }) => sizeOf(shape));
  const moments = 2 + 1 + (train.ema > 0 ? 1 : 0); // AdamW's two, the gathered gradient, the average
  parts.push({
    part: lora ? `adapter, rank ${lora.rank}` : 'learning',
    bytes: 4 * learned * (moments + (lora ? 1 : 0)),
  });

  const { in_channels: channels, sample_size: side } = await readJson(join(folder, networkName, 'config.json'));
  const { block_out_channels: blocks } = await readJson(join(folder, 'vae', 'config.json'));
  const factor = 2 ** ((blocks as readonly number[]).length - 1);
  const edge = sampler.resolution ? sampler.resolution / factor : Number([side].flat()[0]);
  const latentShape = [Number(channels), edge, edge] as const;
  const slots = slotsOf(grpo.groups_per_update, callSizeOf(latentShape, config));
  parts.push({ part: 'trajectories', bytes: 4 * slots * (sampler.steps + 1) * sizeOf(latentShape) });
  return parts;
}

async function weightsOf(folder: string): Promise<Weight[]> {
  const weights: Weight[] = [];
  const { shards } = await findWeights(folder);
  for (const [path, names] of shards) {
    const file = await openWeights(path);
    for (const { name, shape } of file.entries.values())
      if (!names || names.includes(name)) weights.push({ name, shape });
    await file.close();
  }
  return weights;
}

/** Elements of the adapters on the linear layers that are named. */
function adapterSize(network: readonly Weight[], { rank, targets }: NonNullable<RunConfig['lora']>): number {
  const layers = network
    .filter(({ name, shape }) => /(?<!embedding_table)\.weight$/.test(name) && shape.length === 2)
    .map(({ name, shape }) => ({ name: name.slice(0, -'.weight'.length), shape }));
  const names = targetsNamed(
    targets,
    layers.map(({ name }) => name),
  );
  return sumOf(
    layers.filter(({ name }) => isTarget(name, names)),
    ({ shape }) => rank * (shape[0]! + shape[1]!),
  );
}
