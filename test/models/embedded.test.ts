import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openSafetensors } from '../../engine/safetensors.js';
import { scope } from '../../engine/tensor/scope.js';
import { tensor } from '../../engine/tensor/tensor.js';
import { packageRoot } from '../../engine/version.js';
import { scheduleOf } from '../../grpo/finetune/policy.js';
import { loadReward } from '../../grpo/finetune/rewards/registry.js';
import { Sampler } from '../../grpo/sampling/sampler.js';
import { odeStepsOf } from '../../grpo/sampling/transitions.js';
import { embeddedFolder } from '../../models/embedded/index.js';
import { readConfig } from '../../models/files/config_file.js';
import { vaeConfig } from '../../models/networks/vae.js';
import { pictureOf } from '../../models/pictures/png.js';
import { loadPipeline } from '../../models/pipeline/pipeline.js';
import { loadClip, retrieval } from '../../models/scenes/clip.js';
import { drawPictures, type SeenPicture } from '../../models/scenes/pictures.js';
import { checkScene } from '../../models/scenes/reader/scene_checker.js';
import { makeScene, sceneSize } from '../../models/scenes/scenes.js';
import { loadVae, reconstructions } from '../../models/scenes/vae.js';
import { expectClose, testDevice } from '../check.js';

const device = await testDevice();

test('the autoencoder that ships keeps held-out scenes: above 31 dB, and the checker still reads them', async () => {
  const { vae, parameters } = await loadVae(device, embeddedFolder('scenes-vae'));
  const { psnr, pictures, latentStd } = await reconstructions(device, vae, 64, 9);
  expect(psnr).toBeGreaterThan(31);
  const { scaling_factor: factor } = await readConfig(embeddedFolder('scenes-vae'), vaeConfig);
  const scaled = latentStd * factor!;
  expect(scaled).toBeGreaterThan(0.9);
  expect(scaled).toBeLessThan(1.1);
  const right = Array.from({ length: 64 }, (_, i) =>
    checkScene(pictures[2 * i + 1]!, makeScene(9, i, 'heldOut').words),
  );
  expect(right.filter(({ correct }) => correct).length).toBeGreaterThanOrEqual(52); // small shapes lose their corners
  parameters.dispose();
});

describe('the rewards that ship judge held-out pictures', () => {
  test('scenes-clip finds the caption of a picture, and prefers it to a twin', async () => {
    const { parameters, ...model } = await loadClip(device, embeddedFolder('scenes-clip'));
    const { top1, twins } = await retrieval(device, { parameters, ...model }, await heldOutPictures(256));
    expect(top1).toBeGreaterThanOrEqual(0.8);
    expect(twins).toBeGreaterThanOrEqual(0.85);
    parameters.dispose();
  });

  test('every score is that of transformers in float64, for every picture and prompt', async () => {
    const fixtures = join(packageRoot(), 'test', 'fixtures', 'embedded');
    const { prompts, scores } = JSON.parse(await readFile(join(fixtures, 'rewards.json'), 'utf8')) as {
      readonly prompts: readonly string[];
      readonly scores: Readonly<Record<string, readonly (readonly number[])[]>>;
    };
    const file = await openSafetensors(join(fixtures, 'scenes-flow.safetensors'));
    const bytes = await file.readBytes('pictures');
    await file.close();
    const size = 3 * sceneSize ** 2;
    const images = prompts.flatMap((_, i) =>
      prompts.map((prompt) => {
        const rgb = bytes.slice(i * size, (i + 1) * size);
        return { rgb, width: sceneSize, height: sceneSize, prompt, meta: {} };
      }),
    );
    expect(Object.keys(scores)).toHaveLength(4);
    for (const [name, expected] of Object.entries(scores)) {
      const reward = await loadReward(device, name);
      expectClose(await reward.score(images), expected.flat(), 2e-5, name);
      reward.dispose?.();
    }
  });
});

async function heldOutPictures(count: number): Promise<SeenPicture[]> {
  const { vae, parameters } = await loadVae(device, embeddedFolder('scenes-vae'));
  const pictures = await drawPictures(device, vae, { seed: 9, count, split: 'heldOut' });
  parameters.dispose();
  return pictures;
}

describe('the generators that ship draw what diffusers draws from the same folders', () => {
  for (const name of ['scenes-flow', 'scenes-diffusion'] as const) {
    test(`${name}, within 2 of 255 everywhere`, async () => {
      const file = await openSafetensors(join(packageRoot(), 'test', 'fixtures', 'embedded', `${name}.safetensors`));
      const { metadata } = file;
      const { shape } = file.entry('latents');
      const latentValues = (await file.read('latents')) as Float32Array;
      const expected = await file.readBytes('pictures');
      await file.close();
      const prompts = metadata.prompts!.split('\n');
      const pipeline = await loadPipeline(device, embeddedFolder(name));
      const [condition, unconditional] = [pipeline.encode(prompts), pipeline.encode(prompts.map(() => ''))];
      const guidance = { scale: Number(metadata.guidance), unconditional };
      const sampler = await Sampler.create(device, pipeline.predict, shape, condition, guidance);
      const initial = tensor(device, latentValues, shape);
      const latents = await sampler.sample(initial, odeStepsOf(scheduleOf(pipeline, Number(metadata.steps))));
      const image = scope(device, () => pipeline.vae.decode(pipeline.vae.unscaled(latents)));
      const [, , height, width] = image.dims(4);
      const pixels = Float32Array.from(await image.data(), (value) => (value + 1) / 2);
      const size = 3 * height * width;
      for (const [i, prompt] of prompts.entries()) {
        const { rgb } = pictureOf(pixels.subarray(i * size, (i + 1) * size), width, height);
        const worst = rgb.reduce((most, value, j) => Math.max(most, Math.abs(value - expected[i * size + j]!)), 0);
        expect(worst, prompt).toBeLessThanOrEqual(2);
      }
      for (const thing of [image, initial, sampler, pipeline, ...condition, ...unconditional]) thing.dispose();
    });
  }
});
