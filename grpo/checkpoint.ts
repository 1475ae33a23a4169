/**
 * Checkpoints: a folder with what a run needs to go on as if it had never stopped. Everything else is a function of the seed
 * and the number of the update. A folder is written aside and renamed, so that it is there whole or not at all.
 */
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CheckError, check } from '../engine/errors.js';
import { replaceFile, syncFolder } from '../engine/files.js';
import type { KernelChoices, Tensor } from '../engine/index.js';
import { type FileTensor, openSafetensors, writeSafetensors } from '../engine/safetensors.js';
import { formatShape, sameShape } from '../engine/tensor/shape.js';
import type { RunConfig } from './config.js';
import { defaultOf } from './config_entries.js';

/** What the next update depends on. */
export interface TrainingState {
  /** By file. Reading a checkpoint overwrites them. */
  readonly tensors: Readonly<Partial<Record<'adapter' | 'optimizer' | 'ema', ReadonlyMap<string, Tensor>>>>;
  /** Updates done, and optimizer steps. Reading a checkpoint overwrites them. */
  readonly counters: { updates: number; steps: number };
}

/** A checkpoint that can't be used: of another run, damaged, or none. */
export class CheckpointError extends Error {
  override name = 'CheckpointError';
}

const stateFile = 'state.json';
const format = 1;

/** What state.json says. */
export interface CheckpointInfo {
  readonly format: number;
  readonly counters: TrainingState['counters'];
  readonly config: RunConfig;
  /** What computed it: another adapter, or another choice of kernels, gives other bits. */
  readonly device: string;
  readonly kernels?: KernelChoices;
}

/** The folder of a checkpoint after `updates` updates. */
export const checkpointName = (updates: number): string => String(updates).padStart(6, '0');

/** Writes a checkpoint into `folder`, replacing one that is there. Every file is on disk before the folder has its name. */
export async function writeCheckpoint(folder: string, state: TrainingState, config: RunConfig): Promise<void> {
  const aside = `${folder}.${process.pid}.part`;
  await mkdir(aside, { recursive: true });
  try {
    let device = '';
    let kernels: KernelChoices = {};
    for (const [name, tensors] of Object.entries(state.tensors)) {
      const files: Record<string, FileTensor> = {};
      for (const [key, tensor] of tensors) {
        device = tensor.device.info.description;
        kernels = tensor.device.features.choices ?? {};
        files[key] = { dtype: tensor.dtype === 'u32' ? 'U32' : 'F32', shape: tensor.shape, data: () => tensor.data() };
      }
      await writeSafetensors(join(aside, `${name}.safetensors`), files, { format: 'pt' });
    }
    const info: CheckpointInfo = { format, counters: state.counters, config, device, kernels };
    await replaceFile(join(aside, stateFile), (file) => file.writeFile(`${JSON.stringify(info, null, 2)}\n`));
    await moveOver(aside, folder);
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    throw error;
  }
}

/** Gives the new folder its name. Where one has it already, that goes aside first: a folder can't be renamed over another. */
async function moveOver(from: string, to: string): Promise<void> {
  const old = `${to}.${process.pid}.old`;
  const replaced = await rename(to, old).then(
    () => true,
    () => false,
  );
  await rename(from, to);
  await syncFolder(dirname(to));
  if (replaced) await rm(old, { recursive: true, force: true });
}

/** The checkpoints below `folder`, oldest first; what an interrupted write left is none. */
export async function listCheckpoints(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names
    .filter((name) => /^\d{6,}$/.test(name))
    .sort((a, b) => Number(a) - Number(b))
    .map((name) => join(folder, name));
}

/** Deletes all but the last `count` checkpoints below `folder`, and what interrupted writes left. */
export async function pruneCheckpoints(folder: string, count: number): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  const left = names.filter((name) => /^\d{6,}\.\d+\.(part|old)$/.test(name)).map((name) => join(folder, name));
  const old = (await listCheckpoints(folder)).slice(0, -Math.max(1, count));
  for (const each of [...left, ...old]) await rm(each, { recursive: true, force: true });
}

/** Reads what a checkpoint says of itself. Throws a CheckpointError where it is damaged. */
export async function readCheckpointInfo(folder: string): Promise<CheckpointInfo> {
  const path = join(folder, stateFile);
  try {
    const info = JSON.parse(await readFile(path, 'utf8')) as CheckpointInfo;
    check(info.format === format, `format ${info.format}, expected ${format}`);
    return info;
  } catch (error) {
    throw new CheckpointError(`${path}: not a checkpoint: ${(error as Error).message}`, { cause: error });
  }
}

/** Puts the checkpoint's values into the state's tensors and counters. Throws a CheckpointError where it is another run's. */
export async function readCheckpoint(folder: string, state: TrainingState, config: RunConfig): Promise<CheckpointInfo> {
  const info = await readCheckpointInfo(folder);
  const differences = configDifferences(info.config, config);
  if (differences.length > 0) {
    const list = differences.map(
      ({ key, saved, given }) => `${key} ${shown(saved)}, the configuration says ${shown(given)}`,
    );
    throw new CheckpointError(`cannot resume ${folder}: it was made with ${list.join('; ')}`);
  }
  const values: [Tensor, Float32Array][] = [];
  for (const [name, tensors] of Object.entries(state.tensors)) {
    const path = join(folder, `${name}.safetensors`);
    try {
      const file = await openSafetensors(path);
      try {
        for (const [key, tensor] of tensors) {
          const { shape } = file.entry(key);
          check(
            sameShape(shape, tensor.shape),
            `${key} is ${formatShape(shape)}, expected ${formatShape(tensor.shape)}`,
          );
          values.push([tensor, (await file.read(key)) as Float32Array]);
        }
      } finally {
        await file.close();
      }
    } catch (error) {
      if (!(error instanceof CheckError) && (error as NodeJS.ErrnoException).code === undefined) throw error;
      throw new CheckpointError(`cannot resume ${folder}: ${basename(path)}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  for (const [tensor, data] of values) tensor.write(data);
  Object.assign(state.counters, info.counters);
  return info;
}

/** Keys that a resumed run may change: how long it runs, what it shows, how much memory it takes; not what it computes. */
const free = [
  /^train\.(updates|checkpointing)$/,
  /^sampler\.(batch|eval_\w+)$/,
  /^(save|sample|eval)\./,
  /^track(\.|$)/,
  /^prompts\.test$/,
  /^reward\.[^.]*\.timeout_s$/,
];

export interface ConfigDifference {
  readonly key: string;
  readonly saved: unknown;
  readonly given: unknown;
}

/** Where two configurations would compute different weights, by key. One saved before a key existed has its default. */
export function configDifferences(saved: unknown, given: unknown, key = ''): ConfigDifference[] {
  if (free.some((pattern) => pattern.test(key))) return [];
  if (isObject(saved) && isObject(given)) {
    const names = new Set([...Object.keys(saved), ...Object.keys(given)]);
    return [...names].flatMap((name) => configDifferences(saved[name], given[name], key ? `${key}.${name}` : name));
  }
  const meant = saved === undefined ? defaultOf(key) : saved;
  return JSON.stringify(meant) === JSON.stringify(given) ? [] : [{ key, saved, given }];
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const shown = (value: unknown): string => JSON.stringify(value) ?? 'nothing';
