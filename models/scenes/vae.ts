/** Pretraining of the autoencoder on scenes. */
import { join } from 'node:path';
import {
  add,
  backward,
  capture,
  type Device,
  exp,
  mean,
  mse,
  mul,
  noGrad,
  square,
  sub,
  type Tensor,
  tensor,
} from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import { initializeParameters } from '../blocks/initialize.js';
import { Parameters } from '../blocks/parameters.js';
import { readConfig } from '../files/config_file.js';
import { writeJson } from '../files/weight_files.js';
import { loadWeights, saveWeights } from '../files/weights.js';
import { AutoencoderKL, type AutoencoderKLConfig, sampleLatents, splitMoments, vaeConfig } from '../networks/vae.js';
import { randomStream } from './random.js';
import { makeScene, type Scene, sceneSize } from './scenes.js';
import { learning, runTraining, type TrainingOptions } from './training.js';

/** The embedded autoencoder: 32 x 32 RGB to latents of 8 x 8 x 4. */
export const scenesVaeConfig = {
  _class_name: 'AutoencoderKL',
  act_fn: 'silu',
  block_out_channels: [8, 8, 24],
  down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D', 'DownEncoderBlock2D'],
  up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D', 'UpDecoderBlock2D'],
  in_channels: 3,
  out_channels: 3,
  latent_channels: 4,
  layers_per_block: 1,
  mid_block_add_attention: false,
  // There are few groups, because a level that the whole picture shares is lost where each channel is normalised by itself.
  norm_num_groups: 2,
  sample_size: sceneSize,
  shift_factor: 0, // diffusers' pipeline of Stable Diffusion 3 adds it
} as const satisfies AutoencoderKLConfig & Record<string, unknown>;

export interface PretrainVaeOptions extends TrainingOptions {
  /** Pictures a step. */
  readonly batch: number;
  /** Peak learning rate; it rises over the first 2 % of the steps and falls to zero like a cosine. Default 4e-3. */
  readonly lr?: number;
  /** Weight of the latents' divergence from a standard normal, per latent element. Default 1e-5. */
  readonly kl?: number;
}

/** Values in [-1, 1], as the network sees them, of pictures in [0, 1]. */
export const toNetwork = (pixels: ArrayLike<number>): Float32Array =>
  Float32Array.from(pixels, (value) => 2 * value - 1);

/** The pictures of scenes as a batch for the network, [scenes, 3, 32, 32]. */
export function networkPixels(scenes: readonly Scene[]): Float32Array {
  const size = 3 * sceneSize ** 2;
  const values = new Float32Array(scenes.length * size);
  for (const [row, { pixels }] of scenes.entries()) values.set(toNetwork(pixels), row * size);
  return values;
}

/** Pictures as an input of a captured step, [count, 3, 32, 32]. */
export const pictureInput = (device: Device, count: number): Tensor =>
  tensor(device, new Float32Array(count * 3 * sceneSize ** 2), [count, 3, sceneSize, sceneSize]);

/** A captured step from `count` pictures to their latents, as a diffusion model has them: the means, scaled. */
export async function captureEncoder(device: Device, vae: AutoencoderKL, count: number) {
  return owning(async (own) => {
    const image = own(pictureInput(device, count));
    const step = await capture(device, () =>
      noGrad(() => ({ latents: vae.scaled(splitMoments(vae.encode(image)).mean) })),
    );
    return { image, step };
  });
}

/** How far the latents' Gaussians are from the standard normal, per element: (mean^2 + var - 1 - ln var) / 2. */
function divergence(moments: Tensor): Tensor {
  const { mean: center, logVariance } = splitMoments(moments);
  return mul(mean(sub(add(square(center), exp(logVariance)), add(logVariance, 1))), 0.5);
}

/** Trains the autoencoder from random weights; the caller owns the parameters it returns. */
export async function pretrainVae(
  device: Device,
  options: PretrainVaeOptions,
): Promise<{ vae: AutoencoderKL; parameters: Parameters; done: number }> {
  return owning(async (own) => {
    const { seed, batch, lr = 4e-3, kl = 1e-5 } = options;
    const parameters = own(new Parameters());
    const vae = new AutoencoderKL(parameters, scenesVaeConfig);
    await initializeParameters(device, parameters, seed);
    // Latents begin almost without noise: a deviation of exp(-3).
    const quantBias = parameters.all.find(({ name }) => name === 'quant_conv.bias')!;
    quantBias.tensor.write(
      Array.from({ length: quantBias.tensor.size }, (_, i) => (2 * i < quantBias.tensor.size ? 0 : -6)),
    );
    const { weights, optimizer } = learning(parameters.all, { lr, betas: [0.9, 0.99], weightDecay: 1e-4 });
    own(optimizer);

    const side = sceneSize / vae.factor;
    const image = own(pictureInput(device, batch));
    const noise = own(tensor(device, new Float32Array(batch * 4 * side ** 2), [batch, 4, side, side]));
    const step = own(
      await capture(device, () => {
        const moments = vae.encode(image);
        const loss = add(mse(vae.decode(sampleLatents(moments, noise)), image), mul(divergence(moments), kl));
        optimizer.step(backward(loss, weights));
        return { loss };
      }),
    );

    const random = randomStream(seed); // one stream of noise through all steps
    let drawn = 0;
    const draw = (): Float32Array => {
      drawn++;
      return Float32Array.from({ length: noise.size }, () => random.normal());
    };
    const feed = (i: number): void => {
      while (drawn < i) draw(); // a resumed training passes over what was used
      const scenes = Array.from({ length: batch }, (_, j): Scene => makeScene(seed, i * batch + j, 'train'));
      image.write(networkPixels(scenes));
      noise.write(draw());
    };
    const identity = { model: 'scenes-vae', seed, batch, lr, kl };
    const done = await runTraining({ identity, parameters, optimizer, step, lr, feed }, options);
    for (const thing of [step, optimizer, image, noise]) thing.dispose();
    return { vae, parameters, done };
  });
}

/** Held-out scenes and what becomes of them: by the means of their latents, encoded and decoded. */
export async function reconstructions(
  device: Device,
  vae: AutoencoderKL,
  count: number,
  seed = 1,
): Promise<{ psnr: number; pictures: Float32Array[]; latentStd: number }> {
  const image = pictureInput(device, 1);
  const step = await capture(device, () => {
    const { mean: latents } = splitMoments(vae.encode(image));
    return { latents, decoded: vae.decode(latents) };
  });
  let error = 0;
  let power = 0;
  const pictures: Float32Array[] = [];
  for (let i = 0; i < count; i++) {
    const { pixels } = makeScene(seed, i, 'heldOut');
    image.write(toNetwork(pixels));
    step.run();
    const latents = await step.outputs.latents.data();
    const shown = Float32Array.from(await step.outputs.decoded.data(), (value) =>
      Math.min(1, Math.max(0, (value + 1) / 2)),
    );
    for (let j = 0; j < shown.length; j++) error += (shown[j]! - pixels[j]!) ** 2 / shown.length;
    for (let j = 0; j < latents.length; j++) power += latents[j]! ** 2 / latents.length;
    pictures.push(pixels, shown);
  }
  for (const thing of [step, image]) thing.dispose();
  return { psnr: -10 * Math.log10(error / count), pictures, latentStd: Math.sqrt(power / count) };
}

/** Writes a folder as diffusers does, f16, with the scaling factor that gives the latents of scenes a deviation of 1. */
export async function saveVae(
  device: Device,
  folder: string,
  vae: AutoencoderKL,
  parameters: Parameters,
): Promise<void> {
  const { latentStd } = await reconstructions(device, vae, 64);
  const config = { ...scenesVaeConfig, scaling_factor: Number((1 / latentStd).toPrecision(5)) };
  await writeJson(join(folder, 'config.json'), config);
  await saveWeights(folder, parameters, { dtype: 'F16' });
}

/** Loads such a folder. */
export async function loadVae(device: Device, folder: string): Promise<{ vae: AutoencoderKL; parameters: Parameters }> {
  const parameters = new Parameters();
  const vae = new AutoencoderKL(parameters, await readConfig(folder, vaeConfig));
  await loadWeights(device, folder, parameters);
  return { vae, parameters };
}
