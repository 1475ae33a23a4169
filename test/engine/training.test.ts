/** Three networks trained for 200 steps: every loss equals PyTorch's, from test/reference/make_training_fixtures.py. */
import { expect, test } from 'vitest';
import {
  AdamW,
  type AdamWOptions,
  add,
  attention,
  avgPool2d,
  backward,
  capture,
  conv2d,
  crossEntropy,
  groupNorm,
  layerNorm,
  linear,
  mse,
  reshape,
  scope,
  type Tensor,
  tanh,
  tensor,
  transpose,
} from '../../engine/index.js';
import { testDevice } from '../check.js';
import { fixtureTensor, readFixture, upload } from '../fixtures.js';

interface Model {
  readonly parameters: readonly string[];
  readonly loss: 'mse' | 'crossEntropy';
  readonly optimizer: AdamWOptions;
}

/** Largest relative difference of a loss. PyTorch in float32 stays within a twentieth of it. */
const lossTolerance = 1e-4;
const eagerSteps = 5;

type Network = (p: (name: string) => Tensor, x: Tensor) => Tensor;

/** Three layers; x is [batch, 8]. */
const mlp: Network = (p, x) => {
  const h = linear(x, p('weight1'), p('bias1'), { activation: 'silu' });
  return linear(tanh(linear(h, p('weight2'), p('bias2'))), p('weight3'), p('bias3'));
};

/** x is [batch, 2, 8, 8]. */
const convnet: Network = (p, x) => {
  let h = conv2d(x, p('conv1'), p('conv1Bias'), { padding: 1 });
  h = groupNorm(h, p('norm1'), p('norm1Bias'), { groups: 4, silu: true });
  h = conv2d(avgPool2d(h, 2), p('conv2'), p('conv2Bias'), { stride: 2, padding: 1 }); // [batch, 12, 2, 2]
  h = groupNorm(h, p('norm2'), p('norm2Bias'), { groups: 3, silu: true });
  return linear(reshape(h, [x.shape[0]!, 48]), p('head'), p('headBias'));
};

/** One pre-norm block of 2 heads; x is [batch, tokens, 16]. */
const transformer: Network = (p, x) => {
  const [batch, tokens, channels] = x.dims(3);
  const h = layerNorm(x, p('norm1'), p('norm1Bias'));
  const heads = (name: string): Tensor =>
    transpose(reshape(linear(h, p(name)), [batch, tokens, 2, channels / 2]), 1, 2); // [batch, 2, tokens, 8]
  const mixed = transpose(attention(heads('query'), heads('key'), heads('value')), 1, 2);
  const y = add(x, linear(reshape(mixed, x.shape), p('out'), p('outBias')));
  const up = linear(layerNorm(y, p('norm2'), p('norm2Bias')), p('up'), p('upBias'), { activation: 'gelu' });
  return linear(up, p('down'), p('downBias'), { residual: y });
};

const networks: Readonly<Record<string, Network>> = { mlp, convnet, transformer };

const device = await testDevice();
const fixture = await readFixture('training');
const models = JSON.parse(fixture.metadata.models!) as Readonly<Record<string, Model>>;

/** A network at its initial weights, with its optimizer and the tensors that hold the current batch. */
function start(name: string) {
  const { parameters: names, loss, optimizer: options } = models[name]!;
  const parameters = new Map(names.map((key) => [key, upload(device, fixture, `${name}.${key}`).requireGrad()]));
  const optimizer = new AdamW([...parameters.values()], options);
  const batches = ['x', 'y'].map((key) => {
    const { shape, values, dtype } = fixtureTensor(fixture, `${name}.${key}`);
    const size = values.length / shape[0]!;
    const batch = tensor(device, values.subarray(0, size), shape.slice(1), dtype);
    const load = (i: number): Tensor => {
      const at = (i % shape[0]!) * size;
      return batch.write(values.subarray(at, at + size));
    };
    return { batch, load };
  });
  const [x, y] = batches.map(({ batch }) => batch) as [Tensor, Tensor];
  return {
    parameters: [...parameters.values()],
    load: (i: number): void => {
      for (const { load } of batches) load(i);
    },
    /** One update; returns the loss before it. */
    update: (): Tensor => {
      const output = networks[name]!((key) => parameters.get(key)!, x);
      const value = loss === 'mse' ? mse(output, y) : crossEntropy(output, y);
      optimizer.step(backward(value, [...parameters.values()]));
      return value;
    },
    dispose: (): void => {
      optimizer.dispose();
      for (const held of [x, y, ...parameters.values()]) held.dispose();
    },
  };
}

test.each(Object.keys(networks))('%s trained for 200 captured steps has the losses of PyTorch', async (name) => {
  const training = start(name);
  const step = await capture(device, () => ({ loss: training.update() }));
  const losses: number[] = [];
  const expected = fixtureTensor(fixture, `${name}.losses`).values;
  for (let i = 0; i < expected.length; i++) {
    training.load(i);
    step.run();
    losses.push(await step.outputs.loss.item());
  }
  step.dispose();
  training.dispose();
  const off = losses.map((loss, i) => Math.abs(loss / expected[i]! - 1));
  const first = off.findIndex((difference) => !(difference <= lossTolerance));
  expect(first, `first step that differs: ${losses[first]}, expected ${expected[first]}`).toBe(-1);
});

test('transformer trained eagerly and by replay has the same losses and parameters, bit for bit', async () => {
  const replayed = start('transformer');
  const step = await capture(device, () => ({ loss: replayed.update() }));
  const eager = start('transformer');
  for (let i = 0; i < eagerSteps; i++) {
    replayed.load(i);
    step.run();
    eager.load(i);
    const loss = scope(device, eager.update);
    expect(await loss.data(), `loss of step ${i}`).toEqual(await step.outputs.loss.data());
    loss.dispose();
  }
  for (const [i, parameter] of eager.parameters.entries()) {
    expect(await parameter.data(), `parameter ${i}`).toEqual(await replayed.parameters[i]!.data());
  }
  step.dispose();
  for (const training of [replayed, eager]) training.dispose();
});
