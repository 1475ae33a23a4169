/** How a case is measured: capture it, run it once, check the result against a reference, and only then time it. */
import { capture, type Step } from '../engine/device/capture.js';
import type { Device } from '../engine/device/device.js';
import type { Tensor } from '../engine/tensor/tensor.js';
import type { DType } from '../kernels/kernel.js';
import { type Result, summarize, type Timing } from './report.js';

/** `sd14`: shapes of Stable Diffusion 1.4's UNet at 512 x 512. `small`: those of the embedded models. */
export const shapeSets = ['sd14', 'small'] as const;
export type ShapeSet = (typeof shapeSets)[number];

/** The value of one element of an output, by flat index, in double precision. */
export type Reference = (index: number) => number;

/** One thing to time, at one shape. */
export interface BenchCase {
  readonly op: string;
  readonly set: ShapeSet;
  readonly shape: string;
  readonly dtype: DType;
  /** Arithmetic of one run, a multiply and an add being two. Backward cases count forward and backward. */
  readonly flops?: number;
  /** Bytes that must be read and written, for cases bound by memory. */
  readonly bytes?: number;
  /** Makes the inputs. */
  readonly prepare: (device: Device) => Prepared;
}

export interface Prepared {
  /** The work, captured as one step. */
  readonly body: () => readonly Tensor[];
  /** One reference for each output of the step's first run. */
  readonly references: readonly Reference[];
  /** Elements of each output that are compared, spread evenly; default 64. */
  readonly samples?: number;
}

/** Largest difference from the reference, over its root mean square: room for f32 sums of some thousand terms, or one rounding to f16. */
const tolerance: Readonly<Record<DType, number>> = { f32: 2e-4, f16: 4e-3, i32: 0, u32: 0 };

const rounds = { least: 5, most: 100, milliseconds: 700 };

/** Measures one case. Throws where the result differs from the reference. */
export async function runCase(device: Device, entry: BenchCase): Promise<Result> {
  const { op, shape, dtype, flops, bytes } = entry;
  const { result: prepared, made } = device.collect(() => entry.prepare(device));
  let step: Step<readonly Tensor[]> | undefined;
  try {
    step = await capture(device, prepared.body);
    step.run();
    const error = await checkOutputs(entry, prepared, step.outputs);
    const { gpu, wall } = await time(device, step);
    const dispatches = step.dispatches.length;
    return {
      op,
      shape,
      dtype,
      ...(flops ? { flops } : {}),
      ...(bytes ? { bytes } : {}),
      dispatches,
      ...(gpu ? { gpu } : {}),
      wall,
      error,
    };
  } finally {
    step?.dispose();
    for (const storage of made) device.release(storage);
    device.pool.trim();
  }
}

/** Compares a sample of each output's elements with the reference and returns the largest relative difference. */
async function checkOutputs(entry: BenchCase, prepared: Prepared, outputs: readonly Tensor[]): Promise<number> {
  let worst = 0;
  for (const [i, output] of outputs.entries()) {
    const values = await output.data();
    const indices = spread(values.length, prepared.samples ?? 64);
    const error = relativeError(
      indices.map((index) => values[index]!),
      indices.map(prepared.references[i]!),
    );
    if (!(error <= tolerance[output.dtype])) {
      const name = `${entry.op} ${entry.shape} ${entry.dtype}`;
      throw new Error(
        `${name}: output ${i} is off by ${error.toExponential(1)} of its size, allowed ${tolerance[output.dtype]}`,
      );
    }
    worst = Math.max(worst, error);
  }
  return worst;
}

/** Up to `count` indices below `size`, the first and the last among them. */
export function spread(size: number, count: number): number[] {
  if (size <= count) return Array.from({ length: size }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => Math.round((i * (size - 1)) / (count - 1)));
}

/** Largest difference over the root mean square of what was expected; NaN where a value is. */
export function relativeError(actual: readonly number[], expected: readonly number[]): number {
  const size = Math.sqrt(expected.reduce((sum, value) => sum + value * value, 0) / expected.length) || 1;
  return Math.max(...actual.map((value, i) => Math.abs(value - expected[i]!))) / size;
}

/** Times a step that has run before: its kernels are compiled. GPU and wall rounds alternate, so both see the same machine. */
async function time(device: Device, step: Step<unknown>): Promise<{ gpu?: Timing; wall: Timing }> {
  const gpu: number[] = [];
  const wall: number[] = [];
  const start = performance.now();
  while (wall.length < rounds.least || (wall.length < rounds.most && performance.now() - start < rounds.milliseconds)) {
    const before = performance.now();
    step.run();
    await device.sync();
    wall.push(performance.now() - before);
    if (!device.features.timestamps) continue;
    const nanoseconds = await step.profile();
    gpu.push(nanoseconds.reduce((sum, value) => sum + value, 0) / 1e6);
  }
  return { ...(gpu.length > 0 ? { gpu: summarize(gpu) } : {}), wall: summarize(wall) };
}
