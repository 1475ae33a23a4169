import { join } from 'node:path';
import { expect, test } from 'vitest';
import { AdamW, backward, capture, EMA, mse, tensor } from '../../../engine/index.js';
import { initializeParameters } from '../../../models/blocks/initialize.js';
import { linear } from '../../../models/blocks/layers.js';
import { Parameters } from '../../../models/blocks/parameters.js';
import { runTraining, type TrainingOptions } from '../../../models/scenes/training.js';
import { testDevice } from '../../check.js';
import { temporaryFolder } from '../../temporary.js';

const device = await testDevice();
const folder = temporaryFolder();

/** A linear layer that learns to triple its input. Returns its weights and average, and the losses. */
async function train(options: Omit<TrainingOptions, 'seed' | 'steps'>, lr = 0.05) {
  const parameters = new Parameters();
  const layer = linear(parameters, 'layer', 4, 4);
  await initializeParameters(device, parameters, 5);
  const weights = parameters.all.map(({ tensor: weight }) => weight.requireGrad());
  const optimizer = new AdamW(weights, { lr });
  const average = new EMA(weights, { decay: 0.9 });
  const x = tensor(device, new Float32Array(8), [2, 4]);
  const y = tensor(device, new Float32Array(8), [2, 4]);
  const step = await capture(device, () => {
    const loss = mse(layer.forward(x), y);
    optimizer.step(backward(loss, weights));
    average.update();
    return { loss };
  });
  const feed = (i: number): void => {
    const values = Array.from({ length: 8 }, (_, j) => Math.sin(i * 8 + j));
    x.write(values);
    y.write(values.map((value) => 3 * value));
  };
  const losses: number[] = [];
  const onStep = (_: number, loss: number): void => void losses.push(loss);
  try {
    const training = { identity: { lr }, parameters, optimizer, ema: { average, decay: 0.9 }, step, lr, feed };
    const done = await runTraining(training, { steps: 12, seed: 1, onStep, ...options });
    const state = await Promise.all([...weights, ...average.averages].map(async (one) => [...(await one.data())]));
    return { done, losses, state };
  } finally {
    for (const thing of [step, average, optimizer, parameters, x, y]) thing.dispose();
  }
}

test('a training that is stopped and resumed ends with the bits of one that was not', async () => {
  const whole = await train({});
  expect(whole.losses.at(-1)!).toBeLessThan(whole.losses[0]!);

  const path = join(folder, 'checkpoint.safetensors');
  const stop = new AbortController();
  const first = await train({
    checkpoint: { path, resume: false, every: 100 },
    signal: stop.signal,
    onStep: (step) => {
      if (step === 5) stop.abort();
    },
  });
  expect(first.done).toBe(5);
  const second = await train({ checkpoint: { path, resume: true, every: 100 } });
  expect(second.done).toBe(12);
  expect(second.losses).toEqual(whole.losses.slice(5));
  expect(second.state).toEqual(whole.state);

  const other = train({ checkpoint: { path, resume: true, every: 100 } }, 0.1);
  await expect(other).rejects.toThrow(`${path}: a checkpoint of {"lr":0.05}, expected one of {"lr":0.1}`);
});
