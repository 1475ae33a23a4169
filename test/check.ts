/** What the op tests share: a device, host tensors, tolerances, and the three checks every op passes. */
import { afterAll, afterEach, beforeEach, expect } from 'vitest';
import { Device } from '../engine/device/device.js';
import { fromHalf, toHalf } from '../engine/tensor/dtype.js';
import { scope } from '../engine/tensor/scope.js';
import { backward } from '../engine/tensor/tape.js';
import { type Tensor, tensor } from '../engine/tensor/tensor.js';
import type { DType, Features } from '../kernels/kernel.js';

/** A tensor on the host, in double precision. */
export interface Host {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export const host = (shape: readonly number[], data: ArrayLike<number>): Host => ({
  shape,
  data: Float64Array.from(data),
});

/** Half the distance from 1 to the next number: the largest relative error of one rounding. */
export const unitRoundoff = { f32: 2 ** -24, f16: 2 ** -11 } as const;

/** Roundings an op may add beside its sums: divisions, exp and the like are 2.5 ulp and more in WGSL. */
const roundingsPerOp = 16;

/**
 * Largest error allowed, relative to the largest reference value: the roundings of the op, and those of a sum of `terms`
 * numbers, which grow like its square root when independent (Higham 2002, section 2.8; factor 4 for the tail).
 * f16 results are rounded once more on storing.
 */
export function tolerance(dtype: DType, terms: number): number {
  const f32 = unitRoundoff.f32 * (roundingsPerOp + 4 * Math.sqrt(terms));
  return dtype === 'f16' ? 2 * unitRoundoff.f16 + f32 : f32;
}

/** Open as long as this process lives: files that share a process (vitest.config.ts) share it and its compiled kernels. */
let shared: Device | undefined;

/**
 * The device of a test file. Fresh tensors hold NaN, so that an element nobody writes is found, and after every test
 * the live bytes must be back where they were. A file in which a test failed leaves its device to no other.
 */
export async function testDevice(): Promise<Device> {
  const device = shared ?? (await Device.create({ poison: true, provideDriver: true }));
  shared = device;
  let before = 0;
  let failed = false;
  beforeEach(() => {
    before = device.memory().liveBytes;
  });
  afterEach(async ({ onTestFailed }) => {
    onTestFailed(() => {
      failed = true;
    });
    await device.sync();
    expect(
      device.memory().liveBytes,
      `live bytes; largest: ${JSON.stringify(device.memory().largest.slice(0, 3))}`,
    ).toBe(before);
  });
  afterAll(() => {
    device.pool.trim();
    if (!failed) return;
    device.close();
    shared = undefined;
  });
  return device;
}

/** Runs `body` with plans that see other features than the device's. */
export async function withFeatures<R>(device: Device, features: Partial<Features>, body: () => Promise<R>): Promise<R> {
  const mutable = device as { features: Features };
  const before = mutable.features;
  mutable.features = { ...before, ...features };
  try {
    return await body();
  } finally {
    mutable.features = before;
  }
}

/** Deterministic pseudo-random values in [low, high), rounded to what the dtype can hold. (mulberry32) */
export function random(
  shape: readonly number[],
  seed: number,
  { low = -1, high = 1, dtype = 'f32' as DType } = {},
): Host {
  const size = shape.reduce((product, n) => product * n, 1);
  const data = new Float64Array(size);
  let state = (seed * 0x9e3779b9) >>> 0;
  for (let i = 0; i < size; i++) {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    const value = low + ((high - low) * ((t ^ (t >>> 14)) >>> 0)) / 2 ** 32;
    data[i] = dtype === 'f16' ? fromHalf(toHalf(value)) : dtype === 'f32' ? Math.fround(value) : Math.floor(value);
  }
  return { shape, data };
}

export function upload(device: Device, { shape, data }: Host, dtype: DType = 'f32'): Tensor {
  return tensor(device, data, shape, dtype);
}

/** Every element within `relative` times the largest expected magnitude; NaN never passes. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  relative: number,
  what: string,
): void {
  expect(actual.length, `${what}: number of elements`).toBe(expected.length);
  let largest = 0;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]!));
  const allowed = relative * Math.max(largest, 1e-30);
  let worst = -1;
  let worstError = allowed;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!);
    if (!(error <= worstError)) {
      worst = i;
      worstError = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
    }
  }
  if (worst >= 0) {
    expect.fail(
      `${what}: element ${worst} is ${actual[worst]}, expected ${expected[worst]}: ` +
        `off by ${(worstError / Math.max(largest, 1e-30)).toExponential(2)} of the largest value, ${relative.toExponential(2)} allowed`,
    );
  }
}

export type Run = (...inputs: Tensor[]) => Tensor;
export type Reference = (...inputs: Host[]) => Host;

export interface CheckOptions {
  /** Length of the longest sum behind one element of the result. */
  readonly terms: number;
  /** Element type of each input; default f32. */
  readonly dtypes?: readonly DType[];
  /** Inputs whose gradients are checked; default: all of a float type. */
  readonly wrt?: readonly number[];
  /** Error of the value, relative to the largest, from numbers the op rounds to f16 on its way; default 0. */
  readonly rounding?: number;
}

const dtypeOf = ({ dtypes }: { readonly dtypes?: readonly DType[] }, i: number): DType => dtypes?.[i] ?? 'f32';

/** The op's value against the reference in double precision. */
export async function checkForward(
  device: Device,
  run: Run,
  reference: Reference,
  inputs: readonly Host[],
  options: CheckOptions,
): Promise<void> {
  const y = scope(device, () => run(...inputs.map((input, i) => upload(device, input, dtypeOf(options, i)))));
  const expected = reference(...inputs);
  const actual = await y.data();
  y.dispose();
  expect(y.shape, 'shape').toEqual([...expected.shape]);
  expectClose(actual, expected.data, tolerance(y.dtype, options.terms) + (options.rounding ?? 0), 'value');
}

const directions = 3;
const step = 1e-4; // of central differences in double precision: their error is about step^2 and 1e-16 / step

/**
 * The op's gradients of sum(y * dy), for a random dy, against central differences of the reference along random
 * directions in each input.
 */
export async function checkGradients(
  device: Device,
  run: Run,
  reference: Reference,
  inputs: readonly Host[],
  options: CheckOptions,
): Promise<void> {
  const isFloat = (i: number): boolean => ['f32', 'f16'].includes(dtypeOf(options, i));
  const wrt = options.wrt ?? inputs.flatMap((_, i) => (isFloat(i) ? [i] : []));
  const dy = random(reference(...inputs).shape, 77);
  const gradients = scope(device, () => {
    const tensors = inputs.map((input, i) => upload(device, input, dtypeOf(options, i)));
    for (const i of wrt) tensors[i]!.requireGrad();
    const y = run(...tensors);
    return backward(
      y,
      wrt.map((i) => tensors[i]!),
      { seed: upload(device, dy, y.dtype) },
    );
  });
  const values: ArrayLike<number>[] = [];
  for (const gradient of gradients) values.push(await gradient.data());
  for (const gradient of gradients) gradient.dispose();

  const loss = (at: readonly Host[]): number => {
    const y = reference(...at).data;
    return y.reduce((sum, value, j) => sum + value * dy.data[j]!, 0);
  };
  wrt.forEach((i, g) => {
    expect(gradients[g]!.shape, `shape of gradient ${i}`).toEqual([...inputs[i]!.shape]);
    for (let d = 0; d < directions; d++) {
      const direction = random(inputs[i]!.shape, 1000 + d).data;
      const moved = (h: number): Host[] =>
        inputs.map((input, j) =>
          j === i
            ? host(
                input.shape,
                input.data.map((value, k) => value + h * direction[k]!),
              )
            : input,
        );
      const expected = (loss(moved(step)) - loss(moved(-step))) / (2 * step);
      let actual = 0;
      let largest = 0;
      for (let k = 0; k < direction.length; k++) {
        actual += values[g]![k]! * direction[k]!;
        largest = Math.max(largest, Math.abs(values[g]![k]!));
      }
      // Errors of the elements add up like a random walk; the elements' own are relative to the largest gradient.
      const dtype = dtypeOf(options, i);
      const allowed =
        (4 * tolerance(dtype, options.terms) * Math.sqrt(direction.length) + 1e-7) * Math.max(largest, 1e-30);
      expect(
        Math.abs(actual - expected),
        `gradient ${i}, direction ${d}: ${actual}, expected ${expected}`,
      ).toBeLessThanOrEqual(allowed);
    }
  });
}

export interface InvarianceOptions {
  /** Inputs that have the batch as axis 0; the others are shared by all samples. */
  readonly batched: readonly number[];
  readonly dtypes?: readonly DType[];
  /** Inputs whose gradients must not depend on the batch either; default: `batched` of a float type. */
  readonly wrt?: readonly number[];
}

const bitsOf = (values: ArrayLike<number>): number[] => Array.from(new Uint32Array(Float32Array.from(values).buffer));

/**
 * The value of each sample, and its gradients to the batched inputs, are the same bits alone, in the whole batch, and at
 * another place in a larger batch.
 */
export async function checkBatchInvariance(
  device: Device,
  run: Run,
  inputs: readonly Host[],
  options: InvarianceOptions,
): Promise<void> {
  const { batched } = options;
  const wrt = options.wrt ?? batched.filter((i) => ['f32', 'f16'].includes(dtypeOf(options, i)));
  const batch = inputs[batched[0]!]!.shape[0]!;
  const evaluate = async (samples: readonly number[]): Promise<number[][][]> => {
    const results = scope(device, () => {
      const tensors = inputs.map((input, i) =>
        upload(device, batched.includes(i) ? pick(input, samples) : input, dtypeOf(options, i)),
      );
      for (const i of wrt) tensors[i]!.requireGrad();
      const y = run(...tensors);
      if (wrt.length === 0) return [y];
      const seed = upload(device, pick(random([batch, ...y.shape.slice(1)], 5), samples), y.dtype);
      return [
        y,
        ...backward(
          y,
          wrt.map((i) => tensors[i]!),
          { seed },
        ),
      ];
    });
    const rows: number[][][] = [];
    for (const result of results) {
      const bits = bitsOf(await result.data());
      const each = bits.length / samples.length;
      rows.push(samples.map((_, s) => bits.slice(s * each, (s + 1) * each)));
      result.dispose();
    }
    return rows;
  };
  const all = [...Array(batch).keys()];
  const together = await evaluate(all);
  const names = ['value', ...wrt.map((i) => `gradient ${i}`)];
  const larger = [...all.slice(1), ...all, 0, ...all]; // every sample at other places
  const among = await evaluate(larger);
  for (const sample of [0, batch - 1]) {
    const alone = await evaluate([sample]);
    names.forEach((name, r) => {
      expect(alone[r]![0], `${name} of sample ${sample}, alone and in a batch of ${batch}`).toEqual(
        together[r]![sample],
      );
      larger.forEach((other, place) => {
        if (other !== sample) return;
        expect(among[r]![place], `${name} of sample ${sample} at place ${place} of ${larger.length}`).toEqual(
          together[r]![sample],
        );
      });
    });
  }
}

/** The given samples (rows of axis 0) of a host tensor. */
export function pick({ shape, data }: Host, samples: readonly number[]): Host {
  const each = data.length / shape[0]!;
  const out = new Float64Array(samples.length * each);
  samples.forEach((sample, s) => {
    out.set(data.subarray(sample * each, (sample + 1) * each), s * each);
  });
  return { shape: [samples.length, ...shape.slice(1)], data: out };
}
