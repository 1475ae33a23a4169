/** Adapters of files and of checkpoints as the weights of a model that learns. */
import { ModelFileError } from '../../models/files/errors.js';
import { readLora } from '../../models/lora/load_lora.js';
import { pipelineKinds } from '../../models/pipeline/kinds.js';
import { CheckpointError, type CheckpointPart, readCheckpoint, readCheckpointInfo } from '../checkpoint.js';
import type { RunConfig } from '../config.js';
import { UsageError } from './errors.js';
import type { LoadedModel } from './policy.js';
import type { FoundCheckpoint, RunFolder } from './run/folder.js';

/**
 * Overwrites the model's fresh adapter with a file's. Throws a UsageError where the model has none, a ModelFileError where the
 * file is for other layers or of another rank; its alpha may differ, "B" takes up the difference. Returns what a person should
 * know, such as adapters of a text encoder that are not applied.
 */
export async function initAdapter({ pipeline, lora }: LoadedModel, path: string): Promise<string[]> {
  if (!lora) throw new UsageError(`${path}: every weight learns (lora: null), there is no adapter that could begin so`);
  const { component } = pipelineKinds[pipeline.kind];
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const file = await readLora(path, pipeline.parameters, { component, warn });
  const problems = [...file.values.keys()]
    .filter((name) => !lora.modules.some((module) => module.name === name))
    .map((name) => `${name} is adapted, expected only the layers that lora.targets names`);
  for (const { name, down } of lora.modules) {
    const found = file.values.get(name)?.rank;
    if (found === undefined) problems.push(`${name} is not adapted, but lora.targets names it`);
    else if (found !== down.shape[0])
      problems.push(`${name} has rank ${found}, expected lora.rank, ${down.shape[0]}: --set lora.rank=${found}`);
  }
  if (problems.length > 0) throw new ModelFileError(path, problems);
  const factor = file.alpha / file.rank / (lora.alpha / lora.rank);
  for (const { name, down, up } of lora.modules) {
    const values = file.values.get(name)!;
    down.write(values.down);
    up.write(values.up.map((value) => value * factor));
  }
  return warnings;
}

/** Which weights of a checkpoint: those that learn, or their moving averages. */
export type Weights = Exclude<CheckpointPart, 'optimizer' | 'reference'>;

/** Puts the weights of a checkpoint into a model that its configuration made. */
export async function readWeights(model: LoadedModel, checkpoint: string, weights: Weights): Promise<void> {
  const { config } = await readCheckpointInfo(checkpoint);
  if (weights === 'ema' && config.train.ema === 0)
    throw new CheckpointError(`${checkpoint}: the run has no moving averages: train.ema is 0`);
  const state = { tensors: { [weights]: model.trainable }, counters: { updates: 0, steps: 0 } };
  await readCheckpoint(checkpoint, state, config);
}

/** What a run's own evaluations judge: averages, where it has them. */
export const judgedWeights = ({ train }: Pick<RunConfig, 'train'>): Weights => (train.ema > 0 ? 'ema' : 'adapter');

/** Puts a run's weights into the model of its configuration: those that its own evaluations judge. */
export async function readRunWeights(
  model: LoadedModel,
  run: RunFolder,
  config: Pick<RunConfig, 'train'>,
  step?: number,
): Promise<FoundCheckpoint> {
  const weights = judgedWeights(config);
  const checkpoint = await run.wholeCheckpoint({ step, parts: [weights] });
  await readWeights(model, checkpoint.path, weights);
  return checkpoint;
}
