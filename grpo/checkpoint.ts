/**
 * Checkpoints: a folder with what a run needs to go on as if it had never stopped. Everything else is a function of the seed
 * and the number of the update. A folder is written aside and renamed, so that it is there whole or not at all.
 */
import { readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CheckError, check } from '../engine/errors.js';
import { exists, hashFile, makeFolder, reasonOf, replaceFile, sha256Of, syncFolder } from '../engine/files.js';
import type { KernelChoices, Tensor } from '../engine/index.js';
import { type FileTensor, openSafetensors, writeSafetensors } from '../engine/safetensors.js';
import { formatShape, sameShape } from '../engine/tensor/shape.js';
import type { RunConfig } from './config.js';
import { defaultOf } from './config_entries.js';
import { copiesReference } from './learning/reference.js';

/** A checkpoint's files of tensors, by their names: what learns, the optimizer's moments, the moving averages, the reference's copy. */
export type CheckpointPart = 'adapter' | 'optimizer' | 'ema' | 'reference';

/** What the next update depends on. */
export interface TrainingState {
  /** By file. Reading a checkpoint overwrites them. */
  readonly tensors: Readonly<Partial<Record<CheckpointPart, ReadonlyMap<string, Tensor>>>>;
  /** Updates done, and optimizer steps. Reading a checkpoint overwrites them. */
  readonly counters: { updates: number; steps: number };
}

/** A checkpoint that can't be used: of another run, damaged, or none. */
export class CheckpointError extends Error {
  override name = 'CheckpointError';
}

const stateFile = 'state.json';
const fileOf = (part: string): string => `${part}.safetensors`;
const format = 1;

/** What state.json says. */
export interface CheckpointInfo {
  readonly format: number;
  readonly counters: TrainingState['counters'];
  readonly config: RunConfig;
  /** What computed it: another adapter, or another choice of kernels, gives other bits. */
  readonly device: string;
  readonly kernels?: KernelChoices;
  /** SHA-256 of each file of tensors, by its name; absent in checkpoints that were written before there were any. */
  readonly hashes?: Readonly<Record<string, string>>;
  /** SHA-256 of this file as it is without this key. */
  readonly hash?: string;
}

/** The folder of a checkpoint after `updates` updates. */
export const checkpointName = (updates: number): string => String(updates).padStart(6, '0');

/** Writes a checkpoint into `folder`, replacing one that is there. Every file is on disk before the folder has its name. */
export async function writeCheckpoint(folder: string, state: TrainingState, config: RunConfig): Promise<void> {
  const aside = `${folder}.${process.pid}.part`;
  await makeFolder(aside);
  try {
    let device = '';
    let kernels: KernelChoices = {};
    const hashes: Record<string, string> = {};
    for (const [name, tensors] of Object.entries(state.tensors)) {
      const files: Record<string, FileTensor> = {};
      for (const [key, tensor] of tensors) {
        device = tensor.device.info.description;
        kernels = tensor.device.features.choices ?? {};
        files[key] = { dtype: tensor.dtype === 'u32' ? 'U32' : 'F32', shape: tensor.shape, data: () => tensor.data() };
      }
      const path = join(aside, fileOf(name));
      await writeSafetensors(path, files, { format: 'pt' });
      hashes[basename(path)] = await hashFile(path);
    }
    const info: CheckpointInfo = { format, counters: state.counters, config, device, kernels, hashes };
    const text = JSON.stringify({ ...info, hash: hashOf(info) }, null, 2);
    await replaceFile(join(aside, stateFile), (file) => file.writeFile(`${text}\n`));
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

/** Deletes all but the last `count` checkpoints below `folder`, damaged ones, and what interrupted writes left. */
export async function pruneCheckpoints(folder: string, count: number): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  const left = names
    .filter((name) => /^\d{6,}\.(?:\d+\.(?:part|old)|damaged)$/.test(name))
    .map((name) => join(folder, name));
  const old = (await listCheckpoints(folder)).slice(0, -Math.max(1, count));
  for (const each of [...left, ...old]) await rm(each, { recursive: true, force: true });
}

/** Whether a folder says that it is a checkpoint. */
export const isCheckpoint = (folder: string): Promise<boolean> => exists(join(folder, stateFile));

/** Reads what a checkpoint says of itself. Throws a CheckpointError where it is damaged. */
export async function readCheckpointInfo(folder: string): Promise<CheckpointInfo> {
  const path = join(folder, stateFile);
  try {
    const info: unknown = JSON.parse(await readFile(path, 'utf8'));
    check(isObject(info) && info.format === format, `format ${isObject(info) && info.format}, expected ${format}`);
    const { hash, ...rest } = info;
    check(hash === undefined || hash === hashOf(rest), 'its bytes are not those that were written');
    checkInfo(rest);
    return info as unknown as CheckpointInfo; // as checked above
  } catch (error) {
    throw new CheckpointError(`${path}: not a checkpoint: ${(error as Error).message}`, { cause: error });
  }
}

/** Looks at what is read of state.json, which in old checkpoints nothing else vouches for. */
function checkInfo({ counters, config, hashes = {} }: Readonly<Record<string, unknown>>): void {
  const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
  const fits = isObject(counters) && isCount(counters.updates) && isCount(counters.steps);
  check(fits, `counters is ${shown(counters)}, expected updates and steps`);
  check(isObject(config) && isObject(config.train), 'config is missing, or has no section train');
  const { lora } = config;
  const isAdapter = isObject(lora) && typeof lora.rank === 'number' && typeof lora.alpha === 'number';
  check(!lora || isAdapter, `config.lora is ${shown(lora)}, expected null or rank and alpha`);
  check(isObject(hashes), `hashes is ${shown(hashes)}, expected an object`);
}

/** The hash that state.json carries of itself. */
const hashOf = (info: object): string => sha256Of(JSON.stringify(info));

/**
 * What is wrong with a checkpoint's files, in a sentence; undefined where nothing is. Of `parts`, by default all that a run
 * goes on from, the size and the hash are checked; a checkpoint without hashes is taken by its sizes.
 */
export async function damageOf(folder: string, parts?: readonly CheckpointPart[]): Promise<string | undefined> {
  try {
    const { config, hashes = {} } = await readCheckpointInfo(folder);
    const all: readonly CheckpointPart[] = [
      'adapter',
      'optimizer',
      ...(config.train.ema > 0 ? (['ema'] as const) : []),
      ...(config.grpo && copiesReference(config) ? (['reference'] as const) : []),
    ];
    for (const part of parts ?? all) {
      const path = join(folder, fileOf(part));
      await (await openSafetensors(path)).close();
      const expected = hashes[fileOf(part)];
      check(
        expected === undefined || expected === (await hashFile(path)),
        `${path}: its bytes are not those that were written`,
      );
    }
    return undefined;
  } catch (error) {
    if (error instanceof CheckpointError || error instanceof CheckError) return error.message;
    const reason = reasonOf(error);
    if (reason === undefined) throw error;
    return `${(error as NodeJS.ErrnoException).path ?? folder}: ${reason}`;
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
    const path = join(folder, fileOf(name));
    try {
      const file = await openSafetensors(path);
      try {
        const expected = info.hashes?.[fileOf(name)];
        check(
          expected === undefined || expected === (await hashFile(path)),
          'its bytes are not those that were written',
        );
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

/** Keys that a resumed run may change: how long it runs, what it shows, how much memory it takes, how a server is asked and who waits for it, which workers it takes; not what it computes. */
const free = [
  /^train\.(updates|checkpointing)$/,
  /^sampler\.(batch|eval_\w+)$/,
  /^rollout(\.|$)/,
  /^(save|sample|eval)\./,
  /^track(\.|$)/,
  /^workers\.(mixed|lock_s)$/,
  /^prompts\.test$/,
  /^reward\.[^.]*\.(timeout_s|batch|headers)(\.|$)/,
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
