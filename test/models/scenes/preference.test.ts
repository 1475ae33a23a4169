import { mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadReward } from '../../../grpo/finetune/rewards/registry.js';
import { pretrainAesthetic, ratingCorrelation, saveAesthetic } from '../../../models/scenes/aesthetic.js';
import { writeCaption } from '../../../models/scenes/caption.js';
import { pretrainClip, saveClip } from '../../../models/scenes/clip.js';
import { batchOf, damagedLatents, halves, type SeenPicture } from '../../../models/scenes/pictures.js';
import { pairAgreement, pretrainPreference, savePreference } from '../../../models/scenes/preference.js';
import { randomStream } from '../../../models/scenes/random.js';
import { makeScene, sceneSize } from '../../../models/scenes/scenes.js';
import { testDevice } from '../../check.js';
import { temporaryFolder } from '../../temporary.js';

const device = await testDevice();
const folder = temporaryFolder();
const base = join(folder, 'scenes-clip');
mkdirSync(base);

/** Scenes as they are drawn, without an autoencoder. */
const pictures: SeenPicture[] = Array.from({ length: 128 }, (_, i) => {
  const { words, style, pixels } = makeScene(3, i, 'train');
  return { words, style, damage: 0, pixels: Uint8Array.from(pixels, (value) => Math.round(255 * value)) };
});

const { parameters } = await pretrainClip(device, base, pictures, { steps: 2, seed: 3, batch: 8 });
await saveClip(base, parameters);
parameters.dispose();

const image = ({ pixels, words }: SeenPicture) => {
  const plane = sceneSize ** 2;
  const rgb = Uint8Array.from({ length: 3 * plane }, (_, i) => pixels[(i % 3) * plane + Math.floor(i / 3)]!);
  return { rgb, width: sceneSize, height: sceneSize, prompt: writeCaption(words), meta: {} };
};

test.each(['scenes-pick', 'scenes-hps'] as const)(
  '%s learns from pairs, the same each time, and its folder is read by the reward of its kind',
  async (name) => {
    const train = async () => {
      const losses: number[] = [];
      const onStep = (_: number, loss: number): void => void losses.push(loss);
      const model = await pretrainPreference(device, name, base, pictures, { steps: 30, seed: 3, batch: 16, onStep });
      return { model, losses };
    };
    const { model, losses } = await train();
    const again = await train();
    expect(again.losses).toEqual(losses);
    again.model.parameters.dispose();
    const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
    expect(mean(losses.slice(-8))).toBeLessThan(mean(losses.slice(0, 8)));
    expect(await pairAgreement(device, name, model, pictures)).toBeGreaterThan(0.55);

    const own = join(folder, name);
    await savePreference(own, name, base, model);
    model.parameters.dispose();
    const published = name === 'scenes-pick' ? 'pickscore' : 'hpsv2';
    const reward = await loadReward(device, published, { path: own });
    const scores = await reward.score(pictures.slice(0, 4).map(image));
    expect(scores.every(Number.isFinite)).toBe(true);
    expect(new Set(scores).size).toBe(4);
    reward.dispose?.();
  },
);

test('scenes-aesthetic learns ratings, and its folder is read as the one of LAION is', async () => {
  const { done, ...model } = await pretrainAesthetic(device, base, pictures, { steps: 160, seed: 3, batch: 32 });
  expect(done).toBe(160);
  expect(await ratingCorrelation(device, model, pictures)).toBeGreaterThan(0.3);
  const own = join(folder, 'scenes-aesthetic');
  await saveAesthetic(own, model);
  const reward = await loadReward(device, 'aesthetic', { path: own });
  const [score] = await reward.score([image(pictures[0]!)]);
  expect(score).toBeGreaterThan(2);
  expect(score).toBeLessThan(8);
  reward.dispose?.();
  for (const each of [model.parameters, model.head]) each.dispose();
  expect((await readFile(join(own, 'config.json'), 'utf8')).includes('CLIPModel')).toBe(true);
});

test('damage grows from nothing to noise and quarters of another picture', () => {
  const latents = new Float32Array(256).fill(1);
  const other = new Float32Array(256).fill(-1);
  const at = (damage: number) => damagedLatents(latents, other, damage, randomStream(1));
  expect(at(0)).toEqual(latents);
  const distance = (damage: number): number => Math.sqrt(at(damage).reduce((sum, v) => sum + (v - 1) ** 2, 0) / 256);
  expect(distance(1)).toBeCloseTo(2 * distance(0.5), 5);
  expect(distance(1)).toBeGreaterThan(0.7);
});

test('a batch has the values of its bytes', () => {
  const { mean, std } = halves;
  const values = batchOf(pictures.slice(0, 2), { mean, std });
  expect(values[5]).toBeCloseTo(pictures[0]!.pixels[5]! / 127.5 - 1, 5);
  const shifted = batchOf(pictures.slice(0, 2), { mean: [0.1, 0.2, 0.3], std: [0.5, 0.25, 0.2] });
  const place = 3 * 1024 + 1024 + 7; // the second picture's green
  expect(shifted[place]).toBeCloseTo((pictures[1]!.pixels[1024 + 7]! / 255 - 0.2) / 0.25, 4);
});
