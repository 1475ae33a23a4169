/** Pretraining of the autoencoder on scenes. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AdamW,
  add,
  backward,
  capture,
  type Device,
  exp,
  mean,
  mse,
  mul,
  square,
  sub,
  type Tensor,
  tensor,
} from '../../engine/index.js';
import { readConfig, vaeConfig } from '../config_file.js';
import { initializeParameters } from '../initialize.js';
import { Parameters } from '../parameters.js';
import { AutoencoderKL, type AutoencoderKLConfig, sampleLatents, splitMoments } from '../vae.js';
import { loadWeights, saveWeights } from '../weights.js';
import { randomStream } from './random.js';
import { makeScene, type Scene, sceneSize } from './scenes.js';

/** The embedded autoencoder: 64 x 64 RGB to latents of 16 x 16 x 4. */
export const scenesVaeConfig = {
  _class_name: 'AutoencoderKL',
  act_fn: 'silu',
  block_out_channels: [16, 32, 64],
  down_block_types: ['DownEncoderBlock2D', 'DownEncoderBlock2D', 'DownEncoderBlock2D'],
  up_block_types: ['UpDecoderBlock2D', 'UpDecoderBlock2D', 'UpDecoderBlock2D'],
  in_channels: 3,
  out_channels: 3,
  latent_channels: 4,
  layers_per_block: 1,
  mid_block_add_attention: false,
  norm_num_groups: 8,
  sample_size: sceneSize,
} as const satisfies AutoencoderKLConfig & Record<string, unknown>;

export interface PretrainVaeOptions {
  readonly steps: number;
  readonly seed: number;
  /** Pictures a step. Default 8. */
  readonly batch?: number;
  /** Peak learning rate; it rises over the first 2 % of the steps and falls to zero like a cosine. Default 2e-3. */
  readonly lr?: number;
  /** Weight of the latents' divergence from a standard normal, per latent element. Default 1e-5. */
  readonly kl?: number;
  /** Called after every step with the loss of a recent one. */
  readonly onStep?: (step: number, loss: number) => void;
}

/** Values in [-1, 1], as the network sees them, of pictures in [0, 1]. */
export const toNetwork = (pixels: ArrayLike<number>): Float32Array =>
  Float32Array.from(pixels, (value) => 2 * value - 1);

/** The learning rate of a step: a linear rise, then a cosine. */
export function scheduledRate(step: number, steps: number, peak: number): number {
  const rise = Math.max(1, Math.round(0.02 * steps));
  if (step < rise) return (peak * (step + 1)) / rise;
  return 0.5 * peak * (1 + Math.cos((Math.PI * (step - rise)) / Math.max(1, steps - rise)));
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
): Promise<{ vae: AutoencoderKL; parameters: Parameters }> {
  const { steps, seed, batch = 8, lr = 2e-3, kl = 1e-5, onStep } = options;
  const parameters = new Parameters(device);
  const vae = new AutoencoderKL(parameters, scenesVaeConfig);
  await initializeParameters(parameters, seed);
  const weights = parameters.all.map(({ tensor: weight }) => weight.requireGrad());
  const optimizer = new AdamW(weights, { lr, betas: [0.9, 0.99], weightDecay: 1e-4, maxGradNorm: 1 });

  const side = sceneSize / vae.factor;
  const image = tensor(device, new Float32Array(batch * 3 * sceneSize ** 2), [batch, 3, sceneSize, sceneSize]);
  const noise = tensor(device, new Float32Array(batch * 4 * side ** 2), [batch, 4, side, side]);
  const step = await capture(device, () => {
    const moments = vae.encode(image);
    const loss = add(mse(vae.decode(sampleLatents(moments, noise)), image), mul(divergence(moments), kl));
    optimizer.step(backward(loss, weights));
    return { loss };
  });

  const random = randomStream(seed);
  let loss = Number.NaN;
  for (let i = 0; i < steps; i++) {
    const scenes = Array.from({ length: batch }, (_, j): Scene => makeScene(seed, i * batch + j, 'train'));
    if (i > 0) loss = await step.outputs.loss.item(); // of the step before, which ran while the scenes were drawn
    if (i > 0) onStep?.(i, loss);
    image.write(Float32Array.from(scenes.flatMap(({ pixels }) => [...toNetwork(pixels)])));
    noise.write(Float32Array.from({ length: noise.size }, () => random.normal()));
    optimizer.lr.write([scheduledRate(i, steps, lr)]);
    step.run();
  }
  onStep?.(steps, await step.outputs.loss.item());
  for (const thing of [step, optimizer, image, noise]) thing.dispose();
  return { vae, parameters };
}

/** Held-out scenes and what becomes of them: by the means of their latents, encoded and decoded. */
export async function reconstructions(
  device: Device,
  vae: AutoencoderKL,
  count: number,
  seed = 1,
): Promise<{ psnr: number; pictures: Float32Array[]; latentStd: number }> {
  const image = tensor(device, new Float32Array(3 * sceneSize ** 2), [1, 3, sceneSize, sceneSize]);
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
  await writeFile(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
  await saveWeights(folder, parameters, { dtype: 'F16' });
}

/** Loads such a folder. */
export async function loadVae(device: Device, folder: string): Promise<{ vae: AutoencoderKL; parameters: Parameters }> {
  const parameters = new Parameters(device);
  const vae = new AutoencoderKL(parameters, await readConfig(folder, vaeConfig));
  await loadWeights(folder, parameters);
  return { vae, parameters };
}
