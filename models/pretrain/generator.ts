/** Pretraining of the generators on scenes: rectified flow (Liu et al. 2023) and noise prediction (Ho et al. 2020). */
import { join } from 'node:path';
import {
  AdamW,
  add,
  backward,
  capture,
  type Device,
  EMA,
  indexSelect,
  moveTogether,
  mse,
  mul,
  noGrad,
  normal,
  reshape,
  scope,
  sub,
  type Tensor,
  tensor,
} from '../../engine/index.js';
import { loadPipeline, type Pipeline } from '../pipeline.js';
import { splitMoments } from '../vae.js';
import { saveWeights } from '../weights.js';
import { allAlike } from './caption.js';
import { type GeneratorName, networkFolder, positionTable, writeGeneratorFolder } from './generator_folder.js';
import { makeScene, sceneSize } from './scenes.js';
import { noiseKeys, runTraining, stepStream, type TrainingOptions } from './training.js';
import { networkPixels } from './vae.js';

/**
 * A noise level: the network's timestep, and the noisy latents as data and noise weigh in them. The target is the noise
 * minus the data for a flow, the noise for diffusion.
 */
export interface NoiseLevel {
  readonly timestep: number;
  readonly data: number;
  readonly noise: number;
  /** Factor of the prediction's error, before it is squared. */
  readonly weight: number;
}

export interface PretrainGeneratorOptions extends TrainingOptions {
  /** The noise level for a uniform number in [0, 1): the model's schedule. */
  readonly levelOf: (uniform: number) => NoiseLevel;
  /** Pictures a step. */
  readonly batch: number;
  /** Peak learning rate. */
  readonly lr: number;
  /** Training scenes, encoded once before the first step. Default 12288. */
  readonly scenes?: number;
  /** Share of captions replaced by the empty one, for classifier-free guidance. Default 0.1. */
  readonly dropout?: number;
  /** Share of the steps that see one kind of object a picture: what a word means, before which object it belongs to. Default 0.4. */
  readonly simpleShare?: number;
  /** Decay of the weights' average, which is what is saved. Default 0.999. */
  readonly emaDecay?: number;
  /** Called while the scenes are encoded. */
  readonly onScenes?: (done: number, scenes: number) => void;
  /** Called with the averaged weights in place, every `sampleEvery` steps. */
  readonly onSample?: (pipeline: Pipeline, step: number) => Promise<void>;
  readonly sampleEvery?: number;
}

/**
 * Trains from random weights into `folder`, an ordinary pipeline folder whose other parts are taken from the embedded
 * scenes-vae and scenes-clip. Returns the steps taken; when they are all, the folder has the averaged weights, f16.
 */
export async function pretrainGenerator(
  device: Device,
  name: GeneratorName,
  folder: string,
  options: PretrainGeneratorOptions,
): Promise<number> {
  const {
    seed,
    steps,
    levelOf,
    batch,
    lr,
    scenes = 12288,
    dropout = 0.1,
    simpleShare = 0.4,
    emaDecay = 0.999,
  } = options;
  await writeGeneratorFolder(device, name, folder, seed);
  const pipeline = await loadPipeline(device, folder, { storage: 'f32' });
  const { network } = pipeline;
  const trained = network.all.filter((parameter) => parameter.name !== positionTable);
  const weights = trained.map(({ tensor: weight }) => weight.requireGrad());
  moveTogether(weights);
  const optimizer = new AdamW(weights, { lr, betas: [0.9, 0.99], weightDecay: 1e-2, maxGradNorm: 1 });
  const average = new EMA(weights, { decay: emaDecay });

  const pool = await encodeScenes(pipeline, seed, scenes, options.onScenes);
  const { latentChannels: channels, latentSize: side } = pipeline;
  const condition = pipeline.encode(Array(batch).fill(''));
  const rows = tensor(device, new Uint32Array(batch), [batch], 'u32');
  const timestep = tensor(device, new Float32Array(batch));
  const column = (): Tensor => tensor(device, new Float32Array(batch), [batch, 1, 1, 1]);
  const [dataShare, noiseShare, weight] = [column(), column(), column()];
  const keys = noiseKeys(device, batch, seed);
  const counter = tensor(device, [0], [1], 'u32');
  const step = await capture(device, () => {
    const data = reshape(indexSelect(pool.latents, rows), [batch, channels, side, side]);
    const noise = normal(keys, counter, data.shape);
    const noisy = add(mul(data, dataShare), mul(noise, noiseShare));
    const target = name === 'scenes-flow' ? sub(noise, data) : noise;
    const prediction = pipeline.predict(noisy, timestep, condition);
    const loss = mse(mul(prediction, weight), mul(target, weight));
    optimizer.step(backward(loss, weights));
    average.update();
    return { loss };
  });
  const feed = (i: number): void => {
    const random = stepStream(seed, i);
    const from = i < simpleShare * steps && pool.simple.length > 0 ? pool.simple : undefined;
    const drawn = Array.from({ length: batch }, () => (from ? random.pick(from) : random.below(scenes)));
    const captions = drawn.map((row) => (random.next() < dropout ? scenes : row));
    for (const [j, part] of condition.entries()) part.write(pool.conditions[j]!.rows(captions));
    // Stratified: one level in each of `batch` equal parts of the range.
    const levels = drawn.map((_, j) => levelOf((j + random.next()) / batch));
    rows.write(Uint32Array.from(drawn));
    timestep.write(levels.map((level) => level.timestep));
    dataShare.write(levels.map(({ data }) => data));
    noiseShare.write(levels.map(({ noise }) => noise));
    weight.write(levels.map(({ weight }) => weight));
    counter.write([i]);
  };
  const onStep = async (done: number, loss: number): Promise<void> => {
    await options.onStep?.(done, loss);
    if (!options.onSample || done % (options.sampleEvery ?? 500) !== 0) return;
    average.swap();
    await options.onSample(pipeline, done);
    average.swap();
  };
  try {
    const identity = { model: name, seed, batch, lr, scenes, dropout, emaDecay };
    const training = { identity, parameters: network, optimizer, ema: { average, decay: emaDecay }, step, lr, feed };
    const done = await runTraining(training, { ...options, onStep });
    if (done === steps) {
      average.swap();
      await saveWeights(join(folder, networkFolder(name)), network, { dtype: 'F16' });
    }
    return done;
  } finally {
    const inputs = [rows, timestep, dataShare, noiseShare, weight, keys, counter, pool.latents, ...condition];
    for (const thing of [step, optimizer, average, pipeline, ...inputs]) thing.dispose();
  }
}

const encodedAtOnce = 32;

/** Equally long rows of numbers on the host, where the conditions of all captions may be larger than a binding. */
class RowStore {
  /** Row after row. */
  readonly values: Float32Array;

  constructor(
    count: number,
    private readonly width: number,
  ) {
    this.values = new Float32Array(count * width);
  }

  set(row: number, values: Float32Array): void {
    this.values.set(values, row * this.width);
  }

  rows(indices: readonly number[]): Float32Array {
    const { values, width } = this;
    const picked = new Float32Array(indices.length * width);
    for (const [i, row] of indices.entries()) picked.set(values.subarray(row * width, (row + 1) * width), i * width);
    return picked;
  }
}

/** What is learned from: computed once, as the autoencoder and the text encoder stay as they are. */
interface EncodedScenes {
  /** [scenes, elements]. */
  readonly latents: Tensor;
  /** For each part of a condition its rows, those of the scenes' captions and at last of the empty one. */
  readonly conditions: readonly RowStore[];
  /** Numbers of the scenes with one kind of object. */
  readonly simple: readonly number[];
}

async function encodeScenes(
  pipeline: Pipeline,
  seed: number,
  scenes: number,
  onScenes?: (done: number, scenes: number) => void,
): Promise<EncodedScenes> {
  const { device, vae } = pipeline;
  const image = tensor(device, new Float32Array(encodedAtOnce * 3 * sceneSize ** 2), [
    encodedAtOnce,
    3,
    sceneSize,
    sceneSize,
  ]);
  const step = await capture(device, () =>
    noGrad(() => ({ latents: vae.scaled(splitMoments(vae.encode(image)).mean) })),
  );
  const size = step.outputs.latents.size / encodedAtOnce;
  const latents = new RowStore(scenes, size);
  const simple: number[] = [];
  const conditions: RowStore[] = [];
  const addConditions = async (row: number, captions: readonly string[]): Promise<void> => {
    for (const [j, part] of pipeline.encode(captions).entries()) {
      const width = part.size / captions.length;
      conditions[j] ??= new RowStore(scenes + 1, width);
      conditions[j].set(row, (await part.data()) as Float32Array);
      part.dispose();
    }
  };
  for (let start = 0; start < scenes; start += encodedAtOnce) {
    const batch = Array.from({ length: encodedAtOnce }, (_, i) => makeScene(seed, start + i, 'train', 'grid'));
    image.write(networkPixels(batch));
    step.run();
    const count = Math.min(encodedAtOnce, scenes - start);
    for (const [i, { objects }] of batch.slice(0, count).entries()) if (allAlike(objects)) simple.push(start + i);
    latents.set(start, ((await step.outputs.latents.data()) as Float32Array).subarray(0, count * size));
    await addConditions(
      start,
      batch.slice(0, count).map(({ caption }) => caption),
    );
    onScenes?.(start + count, scenes);
  }
  await addConditions(scenes, ['']);
  for (const thing of [step, image]) thing.dispose();
  return { latents: scope(device, () => tensor(device, latents.values, [scenes, size])), conditions, simple };
}
