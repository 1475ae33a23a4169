/** Files with flipped bits, cuts, wrong lengths and numbers out of range: no crash, no hang, no weights changed in silence. */
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckError, FileError } from '../../engine/errors.js';
import { openSafetensors } from '../../engine/safetensors.js';
import { tensor } from '../../engine/tensor/tensor.js';
import { packageRoot } from '../../engine/version.js';
import { CheckpointError, readCheckpoint, readCheckpointInfo, writeCheckpoint } from '../../grpo/checkpoint.js';
import type { RunConfig } from '../../grpo/config.js';
import { parseConfig } from '../../grpo/finetune/config/parse.js';
import { openDevice } from '../../grpo/finetune/device.js';
import { UsageError } from '../../grpo/finetune/errors.js';
import { parsePrompts } from '../../grpo/finetune/prompts.js';
import { ModelFileError } from '../../models/files/errors.js';
import { openTorchFile } from '../../models/files/torch_file.js';
import { readJson } from '../../models/files/weight_files.js';
import { tinyConfig } from '../grpo/tiny.js';
import { randomNumbers, type SoakOptions, type SoakResult } from './soak.js';

/** Errors by which a wrong file is refused. */
const refusals = [CheckError, FileError, ModelFileError, CheckpointError, UsageError];

/** Milliseconds that reading a small file may take. */
const patience = 5000;

/** Reads a file's mutated bytes; a sentence where weights came out that differ from the original's in silence. */
type Read = (path: string, bytes: Uint8Array, original: Uint8Array) => Promise<string | undefined>;

const fixtures = join(packageRoot(), 'test', 'fixtures');

/** The numbers of a header and the bytes behind it: a flip among the values themselves changes them, and nothing can tell. */
const safetensors: Read = async (path, bytes, original) => {
  await writeFile(path, bytes);
  const file = await openSafetensors(path);
  try {
    const values = new Map<string, string>();
    for (const name of file.entries.keys())
      values.set(name, Buffer.from(await file.readBytes(name)).toString('base64'));
    const header = 8 + Number(Buffer.from(original).readBigUInt64LE(0));
    const sameHeader = Buffer.from(bytes).subarray(0, header).equals(Buffer.from(original).subarray(0, header));
    return sameHeader || values.size > 0 || bytes.length === original.length
      ? undefined
      : 'read as a file without tensors';
  } finally {
    await file.close();
  }
};

const torch: Read = async (path, bytes) => {
  await writeFile(path, bytes);
  const file = await openTorchFile(path);
  try {
    for (const name of file.entries.keys()) await file.readBytes(name);
  } finally {
    await file.close();
  }
  return undefined;
};

const json: Read = async (path, bytes) => {
  await writeFile(path, bytes);
  await readJson(path);
  return undefined;
};

const yaml: Read = async (_, bytes) => {
  parseConfig({ name: 'mutated.yaml', text: Buffer.from(bytes).toString('utf8') });
  return undefined;
};

const prompts: Read = async (_, bytes) => {
  parsePrompts('mutated.jsonl', bytes);
  return undefined;
};

/** One random fault: a flipped bit, a cut, bytes twice, a number out of range, a run of zeros. */
function mutate(original: Uint8Array, random: () => number): Uint8Array {
  const bytes = Uint8Array.from(original);
  const at = Math.floor(random() * bytes.length);
  const kind = Math.floor(random() * 6);
  // The beginning, where lengths and names stand, is hit more often.
  const place = random() < 0.5 ? at % Math.min(bytes.length, 400) : at;
  if (kind === 0) bytes[place]! ^= 1 << Math.floor(random() * 8);
  else if (kind === 1) return bytes.slice(0, at);
  else if (kind === 2) return Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - 40))]);
  else if (kind === 3) bytes[place] = Math.floor(random() * 256);
  else if (kind === 4) bytes.fill(0, place, place + 16);
  else {
    const text = Buffer.from(bytes).toString('latin1');
    const digits = [...text.matchAll(/\d+/g)];
    const hit = digits[Math.floor(random() * digits.length)];
    const numbers = ['-1', '99999999999999999999', '1e308', '0', '4294967296', 'NaN'];
    if (!hit) return bytes.slice(0, at);
    const other = numbers[Math.floor(random() * numbers.length)]!;
    return Buffer.from(text.slice(0, hit.index) + other + text.slice(hit.index + hit[0].length), 'latin1');
  }
  return bytes;
}

/** `count` mutations, a part of them of each kind of file. */
export async function soakFiles({ count, seed, folder, log }: SoakOptions): Promise<SoakResult> {
  const random = randomNumbers(seed);
  const yamlText = await readFile(join(packageRoot(), 'grpo', 'finetune', 'presets', 'scenes-flow.yaml'));
  const kinds: readonly (readonly [name: string, original: Uint8Array, read: Read])[] = [
    [
      'model.safetensors',
      await readFile(join(fixtures, 'pipelines/sd1/vae/diffusion_pytorch_model.safetensors')),
      safetensors,
    ],
    ['head.pth', await readFile(join(fixtures, 'rewards/clip/aesthetic.pth')), torch],
    ['config.json', await readFile(join(fixtures, 'pipelines/sd3/transformer/config.json')), json],
    ['run.yaml', yamlText, yaml],
    [
      'prompts.jsonl',
      Buffer.from('{"prompt": "a cat", "count": 1}\n{"prompt": "ein Bär, größer"}\n'.repeat(8)),
      prompts,
    ],
  ];
  const failures: string[] = [];
  const part = Math.ceil(count / (kinds.length + 1));
  let cases = 0;
  for (const [name, original, read] of kinds) {
    const path = join(folder, name);
    for (let i = 0; i < part; i++, cases++) {
      const bytes = mutate(original, random);
      const problem = await refusedOrRight(() => read(path, bytes, original));
      if (problem) failures.push(`${name}, mutation ${i}: ${problem}`);
    }
    log(`files ${name}: ${part} mutations, ${failures.length} failures`);
  }
  const checkpoints = await soakCheckpoints(part, random, folder);
  return { cases: cases + part, failures: [...failures, ...checkpoints] };
}

/** Mutated checkpoints are refused, or give the very values that were saved. */
async function soakCheckpoints(count: number, random: () => number, folder: string): Promise<string[]> {
  const device = await openDevice();
  const config = tinyConfig() as RunConfig;
  const values = Array.from({ length: 64 }, (_, i) => Math.fround(Math.sin(i)));
  const weights = tensor(device, values, [8, 8]);
  const state = { tensors: { adapter: new Map([['a', weights]]) }, counters: { updates: 3, steps: 6 } };
  const whole = join(folder, 'whole-checkpoint');
  await writeCheckpoint(whole, state, config);
  const failures: string[] = [];
  const names = await readdir(whole);
  for (let i = 0; i < count; i++) {
    const path = join(folder, 'checkpoint');
    await mkdir(path);
    await cp(whole, path, { recursive: true });
    const name = names[Math.floor(random() * names.length)]!;
    await writeFile(join(path, name), mutate(await readFile(join(whole, name)), random));
    weights.write(new Float32Array(64).fill(-1));
    const counters = { updates: 0, steps: 0 };
    const problem = await refusedOrRight(async () => {
      await readCheckpointInfo(path);
      await readCheckpoint(path, { ...state, counters }, config);
      const found = Array.from(await weights.data());
      const same = found.every((value, k) => value === values[k]) && counters.updates === 3 && counters.steps === 6;
      return same ? undefined : 'other values were read in silence';
    });
    if (problem) failures.push(`checkpoint's ${name}, mutation ${i}: ${problem}`);
    await rm(path, { recursive: true });
  }
  device.close();
  return failures;
}

/** Runs a reader; what it says of a file that it neither refused by a right error nor read as it should. */
async function refusedOrRight(read: () => Promise<string | undefined>): Promise<string | undefined> {
  const start = performance.now();
  let problem: string | undefined;
  try {
    problem = await read();
  } catch (error) {
    if (!refusals.some((kind) => error instanceof kind))
      problem = `${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
  const took = performance.now() - start;
  return took > patience ? `took ${(took / 1000).toFixed(1)} s` : problem;
}
