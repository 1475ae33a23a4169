/** Copies of the tiny pipelines with something about them changed. */
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import { loadPipeline, type PipelineOptions } from '../../../models/pipeline/pipeline.js';
import { testDevice } from '../../check.js';
import { temporaryFolder } from '../../temporary.js';

const device = await testDevice();
const temporary = temporaryFolder();

type Spoil = (folder: string) => Promise<unknown>;

/** A copy of sd1, sd3 or dit that `spoil` has changed. */
export async function spoiled(name: string, spoil: Spoil): Promise<string> {
  const folder = join(temporary, `broken-${Math.random().toString(36).slice(2)}`);
  await cp(join(packageRoot(), 'test', 'fixtures', 'pipelines', name), folder, { recursive: true });
  await spoil(folder);
  return folder;
}

/** The message with which such a copy is refused; nothing of it stays on the device. */
export async function broken(name: string, spoil: Spoil, options: PipelineOptions = {}): Promise<string> {
  const folder = await spoiled(name, spoil);
  const before = device.memory().liveBytes;
  const message = await loadPipeline(device, folder, { warn: () => {}, ...options }).then(
    () => 'no error',
    (error: Error) => error.message,
  );
  expect(device.memory().liveBytes).toBe(before);
  return message.replaceAll(folder, 'FOLDER');
}

/** The warnings with which such a copy loads. */
export async function warnings(name: string, spoil: Spoil, options: PipelineOptions = {}): Promise<string[]> {
  const folder = await spoiled(name, spoil);
  const told: string[] = [];
  const pipeline = await loadPipeline(device, folder, { warn: (message) => told.push(message), ...options });
  pipeline.dispose();
  return told.map((message) => message.replaceAll(folder, 'FOLDER'));
}

/** Changes keys of a JSON file below the folder. */
export const change =
  (file: string, keys: Readonly<Record<string, unknown>>): Spoil =>
  async (folder) => {
    const path = join(folder, file);
    await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...keys }));
  };
