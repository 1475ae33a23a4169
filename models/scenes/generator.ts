/** Pretraining of the generators on scenes: rectified flow (Liu et al. 2023) and noise prediction (Ho et al. 2020). */
import { join } from 'node:path';
import {
  add,
  backward,
  capture,
  type Device,
  EMA,
  indexSelect,
  mse,
  mul,
  normal,
  reshape,
  scope,
  sub,
  type Tensor,
  tensor,
} from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import { saveWeights } from '../files/weights.js';
import { loadPipeline, type Pipeline } from '../pipeline/pipeline.js';
import { wordsOf, writeCaption } from './caption.js';
import { type GeneratorName, networkFolder, positionTable, writeGeneratorFolder } from './generator_folder.js';
import { makeScene } from './scenes.js';
import { learning, noiseKeys, runTraining, stepStream, type TrainingOptions } from './training.js';
import { captureEncoder, networkPixels } from './vae.js';

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
  /** Where the folders of scenes-vae and scenes-clip are. */
  readonly from: string;
  /** The noise level of row `row` of a batch, for a uniform number in [0, 1): the model's schedule. */
  readonly levelOf: (uniform: number, row: number) => NoiseLevel;
  /** Pictures a step. */
  readonly batch: number;
  /** Peak learning rate. */
  readonly lr: number;
  /** Training scenes, encoded once before the first step. Default 49152. */
  readonly scenes?: number;
  /** Share of captions replaced by the empty one, for classifier-free guidance. Default 0.1. */
  readonly dropout?: number;
  /** Decay of the weights' average, which is what is saved. Default 0.999. */
  readonly emaDecay?: number;
  /** Called while the scenes are encoded. */
  readonly onScenes?: (done: number, scenes: number) => void;
  /** Called with the averaged weights in place, every `sampleEvery` steps. */
  readonly onSample?: (pipeline: Pipeline, step: number) => Promise<void>;
  readonly sampleEvery?: number;
}

/**
 * Trains from random weights into `folder`, an ordinary pipeline folder whose other parts are those of scenes-vae and
 * scenes-clip. Returns the steps taken; when they are all, the folder has the averaged weights, f16.
 */
export async function pretrainGenerator(
  device: Device,
  name: GeneratorName,
  folder: string,
  options: PretrainGeneratorOptions,
): Promise<number> {
  return owning(async (own) => {
    const { seed, steps, levelOf, batch, lr, scenes = 49152, dropout = 0.1, emaDecay = 0.999 } = options;
    await writeGeneratorFolder(device, name, folder, { seed, from: options.from });
    const pipeline = own(await loadPipeline(device, folder, { storage: 'f32' }));
    const { parameters } = pipeline;
    const trained = parameters.all.filter((parameter) => parameter.name !== positionTable);
    const { weights, optimizer } = learning(trained, { lr, betas: [0.9, 0.99], weightDecay: 1e-2 });
    own(optimizer);
    const average = own(new EMA(weights, { decay: emaDecay }));

    const pool = await encodeScenes(pipeline, seed, scenes, options.onScenes);
    for (const thing of [pool.latents, ...pool.conditions]) own(thing);
    const { latentChannels: channels, latentSize: side } = pipeline;
    const indices = (): Tensor => own(tensor(device, new Uint32Array(batch), [batch], 'u32'));
    const [rows, captions] = [indices(), indices()];
    const timestep = own(tensor(device, new Float32Array(batch)));
    const column = (): Tensor => own(tensor(device, new Float32Array(batch), [batch, 1, 1, 1]));
    const [dataShare, noiseShare, weight] = [column(), column(), column()];
    const keys = own(noiseKeys(device, batch, seed));
    const counter = own(tensor(device, [0], [1], 'u32'));
    const step = own(
      await capture(device, () => {
        const data = reshape(indexSelect(pool.latents, rows), [batch, channels, side, side]);
        const noise = normal(keys, counter, data.shape);
        const noisy = add(mul(data, dataShare), mul(noise, noiseShare));
        const target = name === 'scenes-flow' ? sub(noise, data) : noise;
        const condition = pool.conditions.map((part) => indexSelect(part, captions));
        const prediction = pipeline.predict(noisy, timestep, condition);
        const loss = mse(mul(prediction, weight), mul(target, weight));
        optimizer.step(backward(loss, weights));
        average.update();
        return { loss };
      }),
    );
    const feed = (i: number): void => {
      const random = stepStream(seed, i);
      const drawn = Array.from({ length: batch }, () => random.below(scenes));
      rows.write(Uint32Array.from(drawn));
      captions.write(Uint32Array.from(drawn, (row) => (random.next() < dropout ? emptyCaption : pool.captions[row]!)));
      // The levels are stratified: there is one in each of `batch` equal parts of the range.
      const levels = drawn.map((_, j) => levelOf((j + random.next()) / batch, j));
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
    const identity = { model: name, seed, batch, lr, scenes, dropout, emaDecay };
    const training = { identity, parameters, optimizer, ema: { average, decay: emaDecay }, step, lr, feed };
    const done = await runTraining(training, { ...options, onStep });
    if (done === steps) {
      average.swap();
      await saveWeights(join(folder, networkFolder(name)), parameters, { dtype: 'F16' });
    }
    const inputs = [rows, captions, timestep, dataShare, noiseShare, weight, keys, counter];
    for (const thing of [...inputs, pool.latents, ...pool.conditions]) thing.dispose();
    for (const thing of [step, optimizer, average, pipeline]) thing.dispose();
    return done;
  });
}

const encodedAtOnce = 64;

/** Number of the empty caption among the conditions: behind those of the training captions. */
const emptyCaption = wordsOf.train.length;

/** What is learned from: computed once, as the autoencoder and the text encoder stay as they are. */
interface EncodedScenes {
  /** The latents of all scenes, [scenes, elements]. */
  readonly latents: Tensor;
  /** Number of each scene's caption. */
  readonly captions: readonly number[];
  /** The parts of the conditions, each [captions + 1, ...]. */
  readonly conditions: readonly Tensor[];
}

async function encodeScenes(
  pipeline: Pipeline,
  seed: number,
  scenes: number,
  onScenes?: (done: number, scenes: number) => void,
): Promise<EncodedScenes> {
  const { device, vae } = pipeline;
  const texts = wordsOf.train.map(writeCaption);
  const numbers = new Map(texts.map((text, i) => [text, i]));
  const { image, step } = await captureEncoder(device, vae, encodedAtOnce);
  const size = step.outputs.latents.size / encodedAtOnce;
  const latents = new Float32Array(scenes * size);
  const captions: number[] = [];
  try {
    for (let start = 0; start < scenes; start += encodedAtOnce) {
      const count = Math.min(encodedAtOnce, scenes - start);
      const batch = Array.from({ length: encodedAtOnce }, (_, i) => makeScene(seed, start + i, 'train'));
      image.write(networkPixels(batch));
      step.run();
      captions.push(...batch.slice(0, count).map(({ caption }) => numbers.get(caption)!));
      latents.set(((await step.outputs.latents.data()) as Float32Array).subarray(0, count * size), start * size);
      onScenes?.(start + count, scenes);
    }
  } finally {
    for (const thing of [step, image]) thing.dispose();
  }
  const conditions = pipeline.encode([...texts, '']);
  return { latents: scope(device, () => tensor(device, latents, [scenes, size])), captions, conditions };
}
