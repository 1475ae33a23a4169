/** `winnow pretrain`: the small models that ship, trained on scenes from random weights. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Device } from '../../engine/index.js';
import { encodePng, gridOf, pictureOf } from '../../models/png.js';
import { sceneSize } from '../../models/pretrain/scenes.js';
import { loadVae, pretrainVae, reconstructions, saveVae } from '../../models/pretrain/vae.js';
import { UsageError } from './exit_codes.js';

export interface PretrainOptions {
  readonly steps: number;
  readonly seed: number;
  readonly batch: number;
  /** The folder of the model; its parent gets the picture of reconstructions. */
  readonly out: string;
  readonly device?: string;
}

/** Models that can be pretrained. */
export const pretrainable = ['scenes-vae'] as const;

const everySteps = 25; // a line of progress

/** Trains one model and saves its folder. Returns the lines that say what came out. */
export async function pretrain(
  model: string,
  { steps, seed, batch, out, device: name }: PretrainOptions,
): Promise<string[]> {
  if (model !== 'scenes-vae')
    throw new UsageError(`pretrain: ${model} is not known; expected ${pretrainable.join(', ')}`);
  const device = await Device.create(name ? { name } : {});
  try {
    const start = performance.now();
    let sum = 0;
    const onStep = (step: number, loss: number): void => {
      sum += loss;
      if (step % everySteps !== 0 && step !== steps) return;
      const count = step % everySteps || everySteps;
      const left = ((performance.now() - start) / 1000 / step) * (steps - step);
      process.stderr.write(`step ${step}/${steps}  loss ${(sum / count).toFixed(5)}  ${left.toFixed(0)} s left\n`);
      sum = 0;
    };
    const { vae, parameters } = await pretrainVae(device, { steps, seed, batch, onStep });
    await mkdir(out, { recursive: true });
    await saveVae(device, out, vae, parameters);
    parameters.dispose();
    return await examine(device, out, start);
  } finally {
    device.close();
  }
}

/** Loads the folder again and measures what a user gets: f16 weights, held-out scenes. */
async function examine(device: Device, folder: string, start: number): Promise<string[]> {
  const { vae, parameters } = await loadVae(device, folder);
  const { psnr, pictures } = await reconstructions(device, vae, 64);
  parameters.dispose();
  const grid = gridOf(
    pictures.slice(0, 32).map((pixels) => pictureOf(pixels, sceneSize, sceneSize)),
    8,
  );
  const path = join(folder, 'reconstructions.png');
  await writeFile(path, encodePng(grid, { title: 'held-out scenes, each beside its reconstruction' }));
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  return [`done  ${folder}  ${seconds} s  PSNR ${psnr.toFixed(2)} dB on 64 held-out scenes`, `look  ${path}`];
}
