/** What is made of several parts leaves nothing on the GPU when it is refused half-way, wherever that is. */
import { afterAll, describe, expect, test } from 'vitest';
import { capture } from '../../engine/device/capture.js';
import { Device } from '../../engine/device/device.js';
import {
  AdamW,
  Attention,
  add,
  Conv2d,
  EMA,
  empty,
  full,
  GroupNorm,
  Initializer,
  LayerNorm,
  Linear,
  measureKernels,
  moveTogether,
  mul,
  OutOfMemoryError,
  parameters,
  scope,
  type Tensor,
  zerosTogether,
} from '../../engine/index.js';
import { measurePeaks } from '../../engine/tuning/peak.js';
import { matmulCandidates } from '../../kernels/matmul.js';

const budget = 1e6;
const device = await Device.create({ memoryBudget: budget, provideDriver: true });
afterAll(() => device.close());

/** Bytes in use: of tensors, and of captured steps. */
const inUse = (on: Device): readonly number[] => [on.memory().liveBytes, on.memory().plannedBytes];

/**
 * Makes a thing again and again, each time with `step` bytes more room, until it fits. Each time before it must be refused and
 * leave the memory as it was. Returns how often it was refused.
 */
async function refusals<R>(make: () => R | Promise<R>, dispose: (made: R) => void, step = 256): Promise<number> {
  for (let refused = 0; ; refused++) {
    const room = budget - inUse(device).reduce((sum, bytes) => sum + bytes);
    const filler = empty(device, [Math.floor(room / 256) * 64 - (refused * step) / 4]);
    const before = inUse(device);
    try {
      const made = await make();
      expect(inUse(device)).not.toEqual(before);
      dispose(made);
      expect(inUse(device), 'after dispose').toEqual(before);
      return refused;
    } catch (error) {
      expect(error).toBeInstanceOf(OutOfMemoryError);
      expect(inUse(device), `after refusal ${refused}`).toEqual(before);
    } finally {
      filler.dispose();
    }
  }
}

const disposeAll = (tensors: readonly Tensor[]): void => {
  for (const each of tensors) each.dispose();
};

describe('what is refused for want of memory leaves nothing behind', () => {
  test('an optimizer of parameters that lie apart', async () => {
    const weights = [full(device, [3], 1), full(device, [5], 1)];
    const made = await refusals(
      () => new AdamW(weights),
      (optimizer) => optimizer.dispose(),
    );
    expect(made).toBe(9); // two moments of each, and five tensors of its own
    disposeAll(weights);
  });

  test('an optimizer of parameters that lie together', async () => {
    const weights = zerosTogether(device, [[3], [5]])!;
    const made = await refusals(
      () => new AdamW(weights),
      (optimizer) => optimizer.dispose(),
    );
    expect(made).toBe(11); // two moments and the gathered gradients of two units each, and five tensors
    disposeAll(weights);
  });

  test('averages of parameters apart and together', async () => {
    const apart = [full(device, [3], 1), full(device, [5], 1)];
    const together = zerosTogether(device, [[3], [5]])!;
    for (const weights of [apart, together]) {
      const made = await refusals(
        () => new EMA(weights, { decay: 0.9 }),
        (ema) => ema.dispose(),
      );
      expect(made).toBe(3);
      disposeAll(weights);
    }
  });

  test('tensors together, and the move of tensors there, also within a scope', async () => {
    expect(await refusals(() => zerosTogether(device, [[3], [5]])!, disposeAll)).toBe(2);
    const weights = [full(device, [3], 1), full(device, [5], 2)];
    const before = device.memory().liveBytes;
    const filler = empty(device, [Math.floor((budget - before) / 256) * 64]);
    expect(() => moveTogether(weights)).toThrow(OutOfMemoryError);
    expect(() => scope(device, () => moveTogether(weights))).toThrow(OutOfMemoryError);
    filler.dispose();
    expect(device.memory().liveBytes).toBe(before);
    expect([...(await weights[1]!.data())]).toEqual([2, 2, 2, 2, 2]);
    moveTogether(weights);
    expect([...(await weights[1]!.data())]).toEqual([2, 2, 2, 2, 2]);
    disposeAll(weights);
  });

  test('layers', async () => {
    const init = new Initializer(device, 1);
    const layers: readonly (() => object)[] = [
      () => Linear.create(init, 3, 2),
      () => Conv2d.create(init, 3, 2, 3),
      () => GroupNorm.create(init, 4, { groups: 2 }),
      () => LayerNorm.create(init, 4),
      () => Attention.create(init, 4, { heads: 2, bias: true }),
    ];
    for (const layer of layers) {
      const made = await refusals(layer, (each) => disposeAll(parameters(each)));
      expect(made).toBeGreaterThanOrEqual(2);
    }
  });

  test('a captured step, in its slots, its parameters and its own tensors', async () => {
    const x = full(device, [64], 1);
    const body = (): Tensor[] => {
      const a = mul(x, 2);
      return [a, add(a, full(device, [64], 3)), mul(a, x)];
    };
    const made = await refusals(
      () => capture(device, body),
      (step) => step.dispose(),
    );
    expect(made).toBeGreaterThanOrEqual(4);
    x.dispose();
  });
});

test('a tensor that one binding does not hold is refused and freed', async () => {
  const other = await Device.create();
  const limit = other.limits.maxStorageBufferBindingSize;
  if (limit <= 2 ** 30) {
    expect(() => full(other, [limit / 4 + 64], 1)).toThrow(/^full: .* in one binding/);
    expect(other.memory().liveBytes).toBe(0);
  }
  other.close();
});

test('the measuring of peaks frees what it had when memory ends', async () => {
  for (const memoryBudget of [0.5e6, 10e6, 100e6]) {
    const small = await Device.create({ memoryBudget });
    await expect(measurePeaks(small)).rejects.toThrow(OutOfMemoryError);
    expect(inUse(small)).toEqual([0, 0]);
    small.close();
  }
});

const measures = device.features.timestamps && matmulCandidates(device.features).length > 1;

test.runIf(measures)('the measuring of kernels does so, too (needs timestamp-query and subgroups)', async () => {
  // The first operand does not fit, then the second, then the product.
  for (const memoryBudget of [1e6, 3e6, 5e6]) {
    const small = await Device.create({ memoryBudget });
    const choices = { matmul: 'matmul_tiled' };
    small.useKernels(choices);
    await expect(measureKernels(small)).rejects.toThrow(OutOfMemoryError);
    expect(inUse(small)).toEqual([0, 0]);
    expect(small.features.choices, 'as before').toEqual(choices);
    small.close();
  }
});
