/** Adapters of files and of checkpoints as the weights of a model that learns. */
import { basename, dirname, join } from 'node:path';
import { exists } from '../../engine/files.js';
import { openSafetensors } from '../../engine/safetensors.js';
import { ModelFileError } from '../../models/files/errors.js';
import { type LoraFile, readLora } from '../../models/lora/load_lora.js';
import type { LoraValues } from '../../models/lora/lora.js';
import { pipelineKinds } from '../../models/pipeline/kinds.js';
import {
  CheckpointError,
  type CheckpointPart,
  damageOf,
  isCheckpoint,
  readCheckpoint,
  readCheckpointInfo,
} from '../checkpoint.js';
import type { RunConfig } from '../config.js';
import { UsageError } from './errors.js';
import type { LoadedModel } from './policy.js';
import { type FoundCheckpoint, RunFolder } from './run/folder.js';
import { findRun } from './run/list.js';

/**
 * Overwrites the model's fresh adapter with a file's, or with that of a run or a checkpoint. Throws a UsageError where the model
 * has none, a ModelFileError where it is for other layers or of another rank; its alpha may differ, "B" takes up the difference.
 * Returns what a person should know, such as adapters of a text encoder that are not applied.
 */
export async function initAdapter({ pipeline, lora }: LoadedModel, path: string): Promise<string[]> {
  if (!lora) throw new UsageError(`${path}: every weight learns (lora: null), there is no adapter that could begin so`);
  const { component } = pipelineKinds[pipeline.kind];
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  const learned = await checkpointAt(path, warn);
  const file = learned
    ? await readAdapter(learned.checkpoint, learned.weights)
    : await readLora(path, pipeline.parameters, { component, warn });
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

/**
 * The checkpoint that a path names: the last whole one of a run, by its folder or its name; a checkpoint by its folder; or one of
 * a checkpoint's files of weights. undefined where it is none of these.
 */
async function checkpointAt(
  path: string,
  warn: (message: string) => void,
): Promise<{ readonly checkpoint: string; readonly weights: Weights } | undefined> {
  const isAdapter = (await exists(path)) && !(await exists(join(path, 'run.json')));
  const run = isAdapter ? undefined : await findRun(path);
  if (run !== undefined) {
    const folder = await RunFolder.open(run);
    const { config } = await readCheckpointInfo(await folder.findCheckpoint());
    const weights = judgedWeights(config);
    const { path: checkpoint, warnings } = await folder.wholeCheckpoint({ parts: [weights] });
    for (const message of warnings) warn(message);
    return { checkpoint, weights };
  }
  if (await isCheckpoint(path)) {
    const { config } = await readCheckpointInfo(path);
    return { checkpoint: path, weights: judgedWeights(config) };
  }
  const name = basename(path, '.safetensors');
  const isWeights = name === 'adapter' || name === 'ema';
  return isWeights && (await isCheckpoint(dirname(path))) ? { checkpoint: dirname(path), weights: name } : undefined;
}

const halves = /^(.+)\.lora_A\.weight$/;

/** The adapter of a checkpoint, by its files alone. Throws a CheckpointError where it is damaged, or the run had none. */
export async function readAdapter(checkpoint: string, weights: Weights): Promise<LoraFile> {
  const { lora } = (await readCheckpointInfo(checkpoint)).config;
  if (!lora) throw new CheckpointError(`${checkpoint}: the run trained the network's own weights, there is no adapter`);
  const damage = await damageOf(checkpoint, [weights]);
  if (damage !== undefined) throw new CheckpointError(`${checkpoint}: ${damage}`);
  const path = join(checkpoint, `${weights}.safetensors`);
  try {
    const file = await openSafetensors(path);
    try {
      const read = async (key: string): Promise<Float32Array> => (await file.read(key)) as Float32Array; // checkpoints are f32
      const names = [...file.entries.keys()].flatMap((key) => halves.exec(key)?.[1] ?? []);
      const values = new Map<string, LoraValues>();
      for (const name of names) {
        const [down, up] = [`${name}.lora_A.weight`, `${name}.lora_B.weight`];
        values.set(name, { rank: file.entry(down).shape[0]!, down: await read(down), up: await read(up) });
      }
      return { rank: lora.rank, alpha: lora.alpha, values };
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new CheckpointError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

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
