/** Measuring, once for an adapter, which of several kernels computes a product fastest; the cache of what was measured. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type KernelChoices, type ShapeClass, shapeClasses } from '../../kernels/choice.js';
import { conv2dCandidates } from '../../kernels/conv2d.js';
import type { Features } from '../../kernels/kernel.js';
import { matmulCandidates } from '../../kernels/matmul.js';
import { capture, type Step } from '../device/capture.js';
import type { Device } from '../device/device.js';
import type { AdapterInfo } from '../driver/adapter.js';
import { cacheFolder } from '../environment.js';
import { check } from '../errors.js';
import { full } from '../ops/create.js';
import { conv2d } from '../ops/products/conv2d.js';
import { linear } from '../ops/products/linear.js';
import { matmul } from '../ops/products/matmul.js';
import { sum } from '../ops/reduce.js';
import { backward } from '../tensor/tape.js';
import type { Tensor } from '../tensor/tensor.js';
import { version } from '../version.js';

/** The kernels that compute a class of products on a device. */
export const candidatesOf = (shapeClass: ShapeClass, features: Features): readonly string[] =>
  shapeClass === 'conv2d' || shapeClass === 'conv2d_weight_grad'
    ? conv2dCandidates(shapeClass, features)
    : matmulCandidates(features);

/** What a class is measured by: a size between those of small and of large models. */
interface Product {
  readonly shape: string;
  readonly make: (device: Device) => { readonly inputs: readonly Tensor[]; readonly body: () => unknown };
}

const ones = (device: Device, shape: readonly number[], dtype: 'f32' | 'f16' = 'f32'): Tensor =>
  full(device, shape, 1, dtype);

function product(
  shape: string,
  inputsOf: (device: Device) => readonly [Tensor, Tensor],
  body: (a: Tensor, b: Tensor) => unknown,
): Product {
  return {
    shape,
    make: (device) => {
      const [a, b] = inputsOf(device);
      return { inputs: [a, b], body: () => body(a, b) };
    },
  };
}

const image = (device: Device): readonly [Tensor, Tensor] => [
  ones(device, [1, 128, 32, 32]),
  ones(device, [128, 128, 3, 3]),
];
const same = { padding: 1 };

const products: Readonly<Record<ShapeClass, Product>> = {
  matmul: product(
    '1024x640x640',
    (device) => [ones(device, [1024, 640]), ones(device, [640, 640])],
    (x, weight) => linear(x, weight, null),
  ),
  matmul_f16_weight: product(
    '1024x640x640',
    (device) => [ones(device, [1024, 640]), ones(device, [640, 640], 'f16')],
    (x, weight) => linear(x, weight, null),
  ),
  matmul_transposed: product(
    '640x640x1024',
    (device) => [ones(device, [1024, 640]), ones(device, [1024, 640])],
    (a, b) => matmul(a, b, { transposeA: true }),
  ),
  conv2d: product('3x3 1x128x32x32 -> 128', image, (x, weight) => conv2d(x, weight, null, same)),
  conv2d_weight_grad: product('3x3 1x128x32x32 -> 128', image, (x, weight) =>
    backward(sum(conv2d(x, weight.requireGrad(), null, same)), [weight]),
  ),
};

/** The kernels of one class beside each other. */
export interface KernelTrial {
  readonly shapeClass: ShapeClass;
  readonly shape: string;
  /** Milliseconds of GPU time, the median of some runs. */
  readonly milliseconds: Readonly<Record<string, number>>;
  readonly chosen: string;
}

/** Another kernel than the table's must be faster by this factor: less is noise. */
const margin = 1.1;
const rounds = 7;

/**
 * Times the kernels of every class that has more than one, in turn, and lets the device use the fastest. Takes a second on a
 * GPU, some more on a software adapter, which compiles slowly. Throws a CheckError without timestamps.
 */
export async function measureKernels(device: Device): Promise<KernelTrial[]> {
  check(device.features.timestamps, 'kernels can not be measured: this adapter has no timestamp-query');
  const before = device.features.choices ?? {};
  const trials: KernelTrial[] = [];
  try {
    device.useKernels({});
    for (const shapeClass of shapeClasses) {
      const candidates = candidatesOf(shapeClass, device.features);
      if (candidates.length > 1) trials.push(await compareKernels(device, shapeClass, candidates));
    }
  } catch (error) {
    device.useKernels(before);
    throw error;
  }
  device.useKernels(choicesOf(trials));
  return trials;
}

/** The kernels that were chosen in the trials, by class. */
export const choicesOf = (trials: readonly KernelTrial[]): KernelChoices =>
  Object.fromEntries(trials.map(({ shapeClass, chosen }) => [shapeClass, chosen]));

async function compareKernels(
  device: Device,
  shapeClass: ShapeClass,
  candidates: readonly string[],
): Promise<KernelTrial> {
  const { shape, make } = products[shapeClass];
  const { result, made } = device.collect(() => make(device));
  const steps = new Map<string, Step<unknown>>();
  try {
    const usual = await capture(device, result.body);
    const table = candidates.find((name) => placesOf(usual, name).length > 0)!;
    usual.dispose();
    for (const name of candidates) {
      device.useKernels({ [shapeClass]: name });
      steps.set(name, await capture(device, result.body));
    }
    const times = new Map<string, number[]>(candidates.map((name) => [name, []]));
    for (let round = 0; round <= rounds; round++) {
      for (const [name, step] of steps) {
        const all = await step.profile();
        const milliseconds = placesOf(step, name).reduce((total, i) => total + all[i]! / 1e6, 0);
        if (round > 0) times.get(name)!.push(milliseconds); // the first run compiles
      }
    }
    const milliseconds = Object.fromEntries([...times].map(([name, list]) => [name, median(list)]));
    const fastest = candidates.reduce((best, name) => (milliseconds[name]! < milliseconds[best]! ? name : best), table);
    const chosen = margin * milliseconds[fastest]! < milliseconds[table]! ? fastest : table;
    return { shapeClass, shape, milliseconds, chosen };
  } finally {
    device.useKernels({});
    for (const step of steps.values()) step.dispose();
    for (const storage of made) device.release(storage);
  }
}

/** Where the dispatches of a kernel stand in a step. */
const placesOf = ({ dispatches }: Step<unknown>, kernel: string): number[] =>
  dispatches.flatMap(({ plan }, i) => (plan.kernel === kernel ? [i] : []));

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** kernels.json in the cache folder: choices by adapter, driver and version of this package. */
const cacheFile = (folder: string): string => join(folder, 'kernels.json');
const keyOf = ({ device, description }: AdapterInfo): string => `${device}, ${description}, winnow ${version}`;

function readCache(folder: string): Record<string, KernelChoices> {
  try {
    const found: unknown = JSON.parse(readFileSync(cacheFile(folder), 'utf8'));
    return typeof found === 'object' && found !== null ? (found as Record<string, KernelChoices>) : {};
  } catch {
    return {}; // none yet, or one that can be measured again
  }
}

/** What was measured on this adapter before; undefined where nothing was. */
export const storedKernels = (info: AdapterInfo, folder = cacheFolder()): KernelChoices | undefined =>
  readCache(folder)[keyOf(info)];

/** Keeps what was measured, beside that of other adapters. Returns the file. */
export function storeKernels(info: AdapterInfo, choices: KernelChoices, folder = cacheFolder()): string {
  mkdirSync(folder, { recursive: true });
  const path = cacheFile(folder);
  const aside = `${path}.${process.pid}.part`;
  writeFileSync(aside, `${JSON.stringify({ ...readCache(folder), [keyOf(info)]: choices }, null, 2)}\n`);
  renameSync(aside, path);
  return path;
}

/** Reads `matmul=matmul_tiled,conv2d=conv2d_tiled`. Throws a CheckError that names what is unknown. */
export function parseKernels(text: string, features: Features): KernelChoices {
  const entries = text.split(',').map((entry) => {
    const [name = '', kernel = ''] = entry.split('=').map((part) => part.trim());
    const shapeClass = shapeClasses.find((known) => known === name);
    check(shapeClass !== undefined, () => `kernels: found "${entry}", expected one of ${shapeClasses.join(', ')}`);
    const candidates = candidatesOf(shapeClass, features);
    check(
      candidates.includes(kernel),
      () => `kernels: ${name} is "${kernel}", expected ${candidates.join(' or ')} on this adapter`,
    );
    return [shapeClass, kernel] as const;
  });
  return Object.fromEntries(entries);
}
