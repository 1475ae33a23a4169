import { expect, test } from 'vitest';
import { capture } from '../../../engine/device/capture.js';
import { EMA } from '../../../engine/nn/ema.js';
import { AdamW } from '../../../engine/nn/optimizer.js';
import { assign, mul } from '../../../engine/ops/elementwise.js';
import { reshape } from '../../../engine/ops/shape.js';
import { scope } from '../../../engine/tensor/scope.js';
import { type Tensor, tensor } from '../../../engine/tensor/tensor.js';
import { moveTogether, readTogether, wholeOf, writeTogether, zerosTogether } from '../../../engine/tensor/together.js';
import { testDevice } from '../../check.js';

const device = await testDevice();
const shapes = [[3], [65, 2], [4, 4]];
const values = (seed: number): number[][] =>
  shapes.map((shape, i) =>
    Array.from({ length: shape.reduce((a, b) => a * b) }, (_, j) => Math.sin(seed + 7 * i + 1.3 * j)),
  );
const tensors = (seed: number): Tensor[] => values(seed).map((numbers, i) => tensor(device, numbers, shapes[i]!));
const read = (all: readonly Tensor[]): Promise<number[][]> =>
  Promise.all(all.map(async (one) => Array.from(await one.data())));
const dispose = (...all: { dispose(): void }[]): void => {
  for (const each of all) each.dispose();
};

test('parts of one buffer are written, read and used like other tensors; the last one frees it', async () => {
  const before = device.memory().liveBytes;
  const parts = zerosTogether(device, shapes)!;
  const expected = values(1);
  for (const [i, part] of parts.entries()) part.write(expected[i]!);
  expect(await read(parts)).toEqual(expected.map((numbers) => numbers.map(Math.fround)));
  const doubled = scope(device, () => mul(parts[1]!, 2));
  expect(Array.from(await doubled.data())).toEqual(expected[1]!.map((x) => 2 * Math.fround(x)));
  expect(wholeOf(parts)?.size).toBeGreaterThanOrEqual(3 + 130 + 16);
  expect(wholeOf(parts.slice(1))).toBeNull();
  expect(wholeOf([...parts].reverse())).toBeNull();
  doubled.dispose();
  dispose(parts[0]!, parts[2]!);
  expect(parts[1]!.disposed).toBe(false);
  expect(device.memory().liveBytes).toBeGreaterThan(before);
  dispose(parts[1]!);
  expect(device.memory().liveBytes).toBe(before);
});

test('a scope that returns parts keeps their buffer, another frees it', async () => {
  const before = device.memory().liveBytes;
  const parts = scope(device, () => zerosTogether(device, shapes)!);
  expect((await read(parts)).flat().every((x) => x === 0)).toBe(true);
  dispose(...parts);
  scope(device, () => void zerosTogether(device, shapes));
  expect(device.memory().liveBytes).toBe(before);
});

test('moved tensors keep their values, and their views move with them', async () => {
  const moved = tensors(2);
  const view = scope(device, () => reshape(moved[2]!, [16]));
  moveTogether(moved);
  expect(await read(moved)).toEqual(values(2).map((numbers) => numbers.map(Math.fround)));
  moved[2]!.write(Array(16).fill(5));
  expect(Array.from(await view.data())).toEqual(Array(16).fill(5));
  expect(() => moveTogether(moved)).toThrow('lies together with others already');
  dispose(...moved);
});

test('a step captured before the move refuses to run', async () => {
  const moved = tensors(3);
  const step = await capture(device, () => mul(moved[0]!, 2));
  moveTogether(moved);
  expect(() => step.run()).toThrow('was moved after the capture');
  dispose(step, ...moved);
});

test('a dispatch that reads one part and writes another is refused before the GPU sees it', () => {
  const parts = zerosTogether(device, [[4], [4]])!;
  expect(() => assign(parts[0]!, parts[1]!)).toThrow('and also binds it');
  dispose(...parts);
});

test('AdamW and EMA reach tensors that lie together in one dispatch each, to the same bits', async () => {
  const run = async (together: boolean): Promise<{ state: number[][]; kernels: string[] }> => {
    const parameters = tensors(4);
    if (together) moveTogether(parameters);
    for (const parameter of parameters) parameter.requireGrad();
    const gradients = tensors(5);
    const optimizer = new AdamW(parameters, { lr: 0.1 });
    const ema = new EMA(parameters, { decay: 0.5 });
    const step = await capture(device, () => {
      optimizer.step(gradients);
      ema.update();
    });
    for (let i = 0; i < 3; i++) step.run();
    const { firstMoments, secondMoments } = optimizer;
    const state = await read([...parameters, ...firstMoments, ...secondMoments, ...ema.averages]);
    ema.swap();
    state.push(...(await read(parameters)));
    const kernels = step.dispatches.map(({ plan }) => plan.kernel);
    dispose(step, optimizer, ema, ...parameters, ...gradients);
    return { state, kernels };
  };
  const [apart, together] = [await run(false), await run(true)];
  expect(together.state).toEqual(apart.state);
  const count = (kernels: string[], kernel: string): number => kernels.filter((name) => name === kernel).length;
  for (const kernel of ['square_sum', 'adamw', 'ema']) {
    expect(count(apart.kernels, kernel)).toBe(3);
    expect(count(together.kernels, kernel)).toBe(1);
  }
});

test('gradients that lie together are taken where they are', async () => {
  const parameters = tensors(6);
  moveTogether(parameters);
  const gradients = zerosTogether(device, shapes)!;
  const optimizer = new AdamW(parameters, { lr: 0.1 });
  const step = await capture(device, () => optimizer.step(gradients));
  expect(step.dispatches.map(({ plan }) => plan.kernel)).toEqual(['square_sum', 'adamw_step', 'adamw']);
  dispose(step, optimizer, ...parameters, ...gradients);
});

test('values of several tensors are read and written one after the other, where they lie together and where they do not', async () => {
  const expected = Float32Array.from(values(3).flat());
  for (const parts of [zerosTogether(device, shapes)!, tensors(0)]) {
    writeTogether(parts, expected);
    expect(await read(parts)).toEqual(values(3).map((numbers) => numbers.map(Math.fround)));
    expect(await readTogether(parts)).toEqual(expected);
    const some = parts.slice(1); // no whole of their own
    expect(await readTogether(some)).toEqual(expected.subarray(3));
    writeTogether(some, expected.subarray(0, 146));
    expect((await read(parts))[0], 'what is not named stays').toEqual(values(3)[0]!.map(Math.fround));
    expect(() => writeTogether(parts, expected.subarray(1))).toThrow('writeTogether: expected 149 values, found 148');
    dispose(...parts);
  }
});
