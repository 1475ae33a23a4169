/** The GPU memory that a run keeps, counted on the networks that loading would make, without a device. */
import type { Parameters } from '../../../models/blocks/parameters.js';
import { isTarget, targetsNamed } from '../../../models/lora/lora.js';
import { measurePipeline } from '../../../models/pipeline/pipeline.js';
import type { RunConfig } from '../../config.js';
import { isForward, keepsPredictions } from '../../learning/losses.js';
import { copiesReference } from '../../learning/reference.js';
import { hasGuardedRatio } from '../../learning/row_weights.js';
import { waitsForScores } from '../../rewards/reward.js';
import { callSizeOf, parkedSamples, slotsOf } from '../../rollout/turns.js';
import { latentShapeOf } from '../policy.js';

export interface MemoryPart {
  readonly part: string;
  readonly bytes: number;
}

/** What a run keeps, and how many f32 values learn. */
export interface RunSizes {
  readonly parts: readonly MemoryPart[];
  readonly learned: number;
}

/** The memory alone of `sizesOfRun`. */
export const keptMemory = async (
  folder: string,
  config: RunConfig,
  warn?: (message: string) => void,
): Promise<readonly MemoryPart[]> => (await sizesOfRun(folder, config, warn)).parts;

const product = (shape: readonly number[]): number => shape.reduce((size, n) => size * n, 1);
const sumOf = <T>(items: readonly T[], value: (item: T) => number): number =>
  items.reduce((sum, item) => sum + value(item), 0);

/**
 * What stays on the GPU for the whole run, part by part: weights of each component, what learns with AdamW's moments, the
 * gathered gradient and the moving average, and the trajectories of an update, or the ends of those and kept predictions, with
 * what waits for the scores of servers and modules. The networks are declared by their configs as loading it does; their weights are not read. Activations are not in it: they need
 * the network at work (`plan --probe`). `warn` is told what a person should know of the folder. Throws a ModelFileError for
 * folders that can't be read.
 */
export async function sizesOfRun(
  folder: string,
  config: RunConfig,
  warn?: (message: string) => void,
): Promise<RunSizes> {
  const { model, lora, sampler, grpo, train, workers } = config;
  const pipeline = await measurePipeline(folder, { storage: model.weights, ...(warn && { warn }) });
  for (const message of pipeline.scheduler.warnings) warn?.(message);
  const parts: MemoryPart[] = Array.from(pipeline.components, ([part, { bytes }]) => ({ part, bytes }));

  const own = pipeline.parameters.all.filter(({ name }) => !train.weights || isTarget(name, train.weights));
  const learned = lora ? adapterSize(pipeline.parameters, lora) : sumOf(own, ({ shape }) => product(shape));
  // AdamW's two moments, the gradient of a shard and of all, the average, the copy that a divergence is from.
  const sums = Math.min(grpo.groups_per_update, workers.shards) > 1 ? 2 : 1;
  const moments = 2 + sums + (train.ema > 0 ? 1 : 0) + (copiesReference(config) ? 1 : 0);
  parts.push({
    part: lora ? `adapter, rank ${lora.rank}` : 'learning',
    bytes: 4 * learned * (moments + (lora ? 1 : 0)),
  });

  const latentShape = latentShapeOf(pipeline, sampler.resolution);
  const size = callSizeOf(latentShape, config, waitsForScores(config.reward));
  const slots = slotsOf(grpo.groups_per_update, size);
  const kept = isForward(grpo.loss) ? 1 : sampler.steps + 1; // latents of a slot
  parts.push({ part: 'trajectories', bytes: 4 * slots * kept * product(latentShape) });
  const predictions = keepsPredictions(grpo) ? grpo.forward_rows : hasGuardedRatio(grpo) ? sampler.steps : 0; // of a slot
  if (predictions > 0) parts.push({ part: 'predictions', bytes: 4 * slots * predictions * product(latentShape) });
  const parked = parkedSamples(grpo.groups_per_update, size); // with their predictions
  if (parked > 0) parts.push({ part: 'waiting for scores', bytes: 2 * 4 * parked * product(latentShape) });
  return { parts, learned };
}

/** Elements of the adapters on the linear layers that are named. */
function adapterSize({ linears }: Parameters, { rank, targets }: NonNullable<RunConfig['lora']>): number {
  const names = targetsNamed(targets, linears.keys());
  return sumOf(
    [...linears].filter(([name]) => isTarget(name, names)),
    ([, { weight }]) => rank * (weight.shape[0]! + weight.shape[1]!),
  );
}
