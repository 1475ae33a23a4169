import { expect, test } from 'vitest';
import { expand, reshape, type Tensor, tensor } from '../../../engine/index.js';
import { PictureDecoder } from '../../../grpo/rollout/pictures.js';
import { initialLatents } from '../../../grpo/sampling/sampler.js';
import { testDevice } from '../../check.js';
import { loadTiny, tinyPrompts } from '../tiny.js';

const device = await testDevice();

test('pictures are the same whatever is decoded at once, each its own, with its prompt', async () => {
  const model = await loadTiny(device, 'sd3');
  const seeds = [1, 2, 3, 4, 5];
  const latents = initialLatents(device, seeds, model.latentShape);
  const found: string[][] = [];
  for (const most of [5, 2, 1]) {
    const decoder = await PictureDecoder.create(model, seeds.length, most);
    decoder.latents.write(await latents.data());
    const pictures = await decoder.pictures(seeds.map((_, i) => tinyPrompts[i % 2]!));
    expect(pictures.map(({ prompt }) => prompt)).toEqual(seeds.map((_, i) => tinyPrompts[i % 2]!.prompt));
    expect(pictures.every(({ finite, width, height }) => finite && width === 16 && height === 16)).toBe(true);
    found.push(pictures.map(({ rgb }) => Buffer.from(rgb).toString('hex')));
    decoder.dispose();
  }
  expect(new Set(found[0]).size).toBe(5);
  expect(found[1]).toEqual(found[0]);
  expect(found[2]).toEqual(found[0]);
  for (const each of [latents, model]) each.dispose();
});

test('values become interleaved bytes, rounded and clamped; one that is not finite is marked', async () => {
  const tiny = await loadTiny(device, 'sd3');
  const values = [-1, -0.5, 0, 1, 1.7, Number.NaN]; // red, green, blue of two pixels, plane by plane
  const decode = (latents: Tensor): Tensor =>
    expand(reshape(tensor(device, values), [1, 3, 1, 2]), [latents.shape[0]!, 3, 1, 2]);
  const decoder = await PictureDecoder.create({ ...tiny, decode, pictureSize: [1, 2] }, 1);
  const [picture] = await decoder.pictures(tinyPrompts.slice(0, 1));
  expect(Array.from(picture!.rgb)).toEqual([0, 128, 255, 64, 255, 0]);
  expect(picture!.finite).toBe(false);
  for (const each of [decoder, tiny]) each.dispose();
});
