import { describe, expect, test } from 'vitest';
import { capture } from '../../../engine/device/capture.js';
import { normal, type RandomOptions, randomBits, uniform } from '../../../engine/ops/random.js';
import { scope } from '../../../engine/tensor/scope.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { testDevice } from '../../check.js';
import { normalOf, philox, uniformOf, words } from '../../references/random.js';

const device = await testDevice();

type Key = readonly [number, number];
type Draw = (keys: Tensor, counter: Tensor, shape: readonly number[], options?: RandomOptions) => Tensor;

/** The numbers of each key, one list a sample. */
async function draw(run: Draw, keys: readonly Key[], counter: number, size: number, stream = 0): Promise<number[][]> {
  const y = scope(device, () =>
    run(
      tensor(device, keys.flat(), [keys.length, 2], 'u32'),
      tensor(device, [counter], [1], 'u32'),
      [keys.length, size],
      { stream },
    ),
  );
  const values = [...(await y.data())];
  y.dispose();
  return keys.map((_, i) => values.slice(i * size, (i + 1) * size));
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const correlation = (a: readonly number[], b: readonly number[]): number => {
  const [ma, mb] = [mean(a), mean(b)];
  const covariance = mean(a.map((value, i) => (value - ma) * (b[i]! - mb)));
  return covariance / Math.sqrt(mean(a.map((value) => (value - ma) ** 2)) * mean(b.map((value) => (value - mb) ** 2)));
};

/** Statistics of n independent draws lie within this many standard errors; fixed keys make the test deterministic. */
const deviations = 4;

describe('Philox4x32-10', () => {
  test("the reference reproduces Random123's known answers", () => {
    const all = 0xffffffff;
    expect(philox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    expect(philox([all, all, all, all], [all, all])).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    const pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344] as const;
    expect(philox(pi, [0xa4093822, 0x299f31d0])).toEqual([0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
  });

  test('the kernel gives the words of the reference, for small and large keys, counters and streams', async () => {
    const keys: Key[] = [
      [0, 0],
      [1, 0],
      [0xffffffff, 0xffffffff],
      [0xa4093822, 0x299f31d0],
    ];
    for (const [counter, stream] of [
      [0, 0],
      [0x85a308d3, 0xfffffffe],
    ] as const) {
      const expected = keys.map((key) => words(key, counter, 13, stream));
      expect(await draw(randomBits, keys, counter, 13, stream)).toEqual(expected);
    }
  });
});

describe('uniform', () => {
  test('gives the top 24 bits of each word as a fraction', async () => {
    const [values] = await draw(uniform, [[3, 4]], 5, 1001);
    expect(values).toEqual(uniformOf(words([3, 4], 5, 1001)));
    expect(values!.every((value) => value >= 0 && value < 1)).toBe(true);
  });
});

describe('normal', () => {
  test("is Box and Muller's function of the words", async () => {
    const [values] = await draw(normal, [[7, 11]], 2, 4096);
    const expected = normalOf(words([7, 11], 2, 4096));
    for (const [i, value] of values!.entries()) {
      // An angle in f32 is off by up to 2e-7, at radii to 6; near 1 the logarithm's error grows under the root.
      expect(Math.abs(value - expected[i]!), `element ${i}: ${value}, expected ${expected[i]}`).toBeLessThan(2e-5);
    }
  });

  test('has the mean, variance, skewness and kurtosis of a standard normal, and its tail', async () => {
    const n = 100_000;
    const [values] = await draw(normal, [[2024, 1]], 0, n);
    const moment = (power: number): number => mean(values!.map((value) => value ** power));
    const allowed = (variance: number): number => deviations * Math.sqrt(variance / n);
    expect(Math.abs(moment(1))).toBeLessThan(allowed(1));
    expect(Math.abs(moment(2) - 1)).toBeLessThan(allowed(2));
    expect(Math.abs(moment(3))).toBeLessThan(allowed(15));
    expect(Math.abs(moment(4) - 3)).toBeLessThan(allowed(96));
    const beyond = values!.filter((value) => Math.abs(value) > 3).length / n;
    expect(Math.abs(beyond - 0.0026998)).toBeLessThan(allowed(0.0026998));
  });

  test('neighbours, keys, counters and streams are uncorrelated', async () => {
    const n = 50_000;
    const keys: Key[] = [
      [1, 0],
      [2, 0],
      [1, 1],
    ];
    const [a, b, c] = (await draw(normal, keys, 0, n)) as [number[], number[], number[]];
    const [later] = (await draw(normal, [keys[0]!], 1, n)) as [number[]];
    const [other] = (await draw(normal, [keys[0]!], 0, n, 1)) as [number[]];
    const allowed = deviations / Math.sqrt(n);
    for (const lag of [1, 2, 3, 4]) {
      expect(Math.abs(correlation(a.slice(lag), a.slice(0, -lag))), `lag ${lag}`).toBeLessThan(allowed);
    }
    for (const [name, values] of Object.entries({ b, c, later, other })) {
      expect(Math.abs(correlation(a, values)), name).toBeLessThan(allowed);
    }
  });

  test('a sample is the same alone and anywhere in a batch, for sizes off the block of four', async () => {
    const keys: Key[] = [
      [5, 1],
      [5, 2],
      [5, 3],
    ];
    for (const size of [1, 6, 16]) {
      const together = await draw(normal, keys, 9, size);
      const reversed = await draw(normal, [...keys].reverse(), 9, size);
      expect([...reversed].reverse()).toEqual(together);
      for (const [i, key] of keys.entries()) expect((await draw(normal, [key], 9, size))[0]).toEqual(together[i]);
    }
  });

  test('a captured step draws anew when the counter is written', async () => {
    const keys = tensor(device, [1, 2], [1, 2], 'u32');
    const counter = tensor(device, [0], [1], 'u32');
    const step = await capture(device, () => normal(keys, counter, [1, 8]));
    for (const value of [0, 1, 0]) {
      counter.write([value]);
      step.run();
      expect([...(await step.outputs.data())]).toEqual((await draw(normal, [[1, 2]], value, 8))[0]);
    }
    step.dispose();
    keys.dispose();
    counter.dispose();
  });

  test('keys, counters and shapes that do not fit are refused', () => {
    scope(device, () => {
      const keys = tensor(device, [1, 2], [1, 2], 'u32');
      const counter = tensor(device, [0], [1], 'u32');
      expect(() => normal(counter, counter, [1, 4])).toThrow('normal: keys are [1] u32, expected [n, 2] u32');
      expect(() => normal(keys, keys, [1, 4])).toThrow('normal: counter is [1, 2] u32, expected [1] u32');
      expect(() => normal(keys, counter, [2, 4])).toThrow('normal: 1 keys for shape [2, 4]; expected [1, ...]');
      expect(() => normal(keys, counter, [1, 4], { stream: -1 })).toThrow('normal: stream must be a u32, found -1');
    });
  });
});
