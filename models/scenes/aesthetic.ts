/**
 * Training of scenes-aesthetic from the ratings of a synthetic person: a head of linear layers over a CLIP's picture vectors,
 * as LAION's aesthetic predictor (Schuhmann 2022), but with the CLIP's image encoder trained on, for it is small.
 */
import { join } from 'node:path';
import { backward, capture, type Device, mse, noGrad, type Tensor, tensor } from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import { writeSafetensors } from '../../engine/safetensors.js';
import { initializeParameters } from '../blocks/initialize.js';
import { linear } from '../blocks/layers.js';
import { Parameters } from '../blocks/parameters.js';
import { fileTensor } from '../files/weights.js';
import { loadClip, saveClip, scenesClipConfig } from './clip.js';
import { rating, tastes, utility } from './judge.js';
import { batchOf, type SeenPicture } from './pictures.js';
import { learning, readerSettings, runTraining, stepStream, type TrainingOptions } from './training.js';
import { pictureInput } from './vae.js';

export interface PretrainAestheticOptions extends TrainingOptions {
  /** Pictures a step. */
  readonly batch: number;
  /** Peak learning rate. Default 1e-3. */
  readonly lr?: number;
}

/** Names of the head's layers and their outputs; LAION's has dropout between them and nothing else. */
const headLayers = { 'layers.0': 32, 'layers.2': 16, 'layers.4': 8, 'layers.6': 4, 'layers.7': 1 } as const;

/** A picture's rating before the error: it does not matter what was asked for. */
const pleasure = (picture: SeenPicture): number => utility(tastes['scenes-aesthetic'], picture.words, picture);

export interface ScenesAesthetic {
  /** The CLIP and the head. */
  readonly parameters: Parameters;
  readonly head: Parameters;
  /** From pictures [N, 3, 32, 32] to ratings [N, 1]. */
  rate(pixels: Tensor): Tensor;
}

/** Trains the CLIP in `base` on. The caller owns the parameters. */
export async function pretrainAesthetic(
  device: Device,
  base: string,
  pictures: readonly SeenPicture[],
  options: PretrainAestheticOptions,
): Promise<ScenesAesthetic & { readonly done: number }> {
  return owning(async (own) => {
    const { seed, batch, lr = 1e-3 } = options;
    const { clip, parameters } = await loadClip(device, base);
    own(parameters);
    const head = own(new Parameters());
    let width: number = scenesClipConfig.projection_dim;
    const layers = Object.entries(headLayers).map(([name, outputs]) => {
      const layer = linear(head, name, width, outputs);
      width = outputs;
      return layer;
    });
    await initializeParameters(device, head, seed);
    head.all.at(-1)!.tensor.write([5]); // the middle of the ratings
    const rate = (pixels: Tensor): Tensor => layers.reduce((x, layer) => layer.forward(x), clip.imageFeatures(pixels));

    const isVision = (name: string): boolean => name.startsWith('vision_model.') || name === 'visual_projection.weight';
    const all = [...parameters.all.filter(({ name }) => isVision(name)), ...head.all];
    const trained = { all };
    const { weights, optimizer } = learning(trained.all, { lr, ...readerSettings });
    own(optimizer);
    const pixels = own(pictureInput(device, batch));
    const ratings = own(tensor(device, new Float32Array(batch), [batch, 1]));
    const step = own(
      await capture(device, () => {
        const loss = mse(rate(pixels), ratings);
        optimizer.step(backward(loss, weights));
        return { loss };
      }),
    );
    const feed = (i: number): void => {
      const random = stepStream(seed, i);
      const seen = Array.from({ length: batch }, () => random.pick(pictures));
      pixels.write(batchOf(seen));
      ratings.write(seen.map((picture) => rating(pleasure(picture), random)));
    };
    const identity = { model: 'scenes-aesthetic', seed, batch, lr, pictures: pictures.length };
    const done = await runTraining({ identity, parameters: trained, optimizer, step, lr, feed }, options);
    for (const thing of [step, optimizer, pixels, ratings]) thing.dispose();
    return { parameters, head, rate, done };
  });
}

/** The correlation of a reward's ratings with the person's, without their error. */
export async function ratingCorrelation(
  device: Device,
  { rate }: ScenesAesthetic,
  pictures: readonly SeenPicture[],
): Promise<number> {
  const atOnce = 64;
  const pixels = pictureInput(device, atOnce);
  const step = await capture(device, () => noGrad(() => ({ ratings: rate(pixels) })));
  const found: number[] = [];
  const count = pictures.length - (pictures.length % atOnce);
  for (let start = 0; start < count; start += atOnce) {
    pixels.write(batchOf(pictures.slice(start, start + atOnce)));
    step.run();
    found.push(...(await step.outputs.ratings.data()));
  }
  for (const thing of [step, pixels]) thing.dispose();
  return correlation(found, pictures.slice(0, count).map(pleasure));
}

function correlation(a: readonly number[], b: readonly number[]): number {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [meanA, meanB] = [mean(a), mean(b)];
  const covariance = (x: readonly number[], mx: number, y: readonly number[], my: number): number =>
    mean(x.map((value, i) => (value - mx) * (y[i]! - my)));
  return covariance(a, meanA, b, meanB) / Math.sqrt(covariance(a, meanA, a, meanA) * covariance(b, meanB, b, meanB));
}

/** Writes the folder as LAION's is used: a CLIPModel, f16, beside the head, f32. */
export async function saveAesthetic(folder: string, { parameters, head }: ScenesAesthetic): Promise<void> {
  await saveClip(folder, parameters);
  const tensors = head.all.map(({ name, tensor: weight }) => [name, fileTensor(weight, 'F32')]);
  await writeSafetensors(join(folder, 'aesthetic-linearMSE.safetensors'), Object.fromEntries(tensors), {
    format: 'pt',
  });
}
