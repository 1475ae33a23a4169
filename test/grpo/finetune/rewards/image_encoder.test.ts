/** Picture encoders of rewards: batches by the network's size, and vectors that do not depend on them. */
import { expect, test } from 'vitest';
import { encodedTogether, ImageEncoder, visionSizeOf } from '../../../../grpo/finetune/rewards/image_encoder.js';
import { initializeParameters } from '../../../../models/blocks/initialize.js';
import { Parameters } from '../../../../models/blocks/parameters.js';
import { CLIPVisionModelWithProjection } from '../../../../models/networks/clip_vision.js';
import { imageProcessor } from '../../../../models/pictures/image_processor.js';
import { testDevice } from '../../../check.js';
import { pictureByRule } from '../../rewards/pictures.js';

const device = await testDevice();

const tower = { hidden_size: 16, intermediate_size: 32, num_attention_heads: 2, num_hidden_layers: 2 };
const tiny = { vision_config: { ...tower, image_size: 16, patch_size: 8, projection_dim: 12 } };

test('large encoders read 8 pictures at once, small ones up to 64, and few places stay empty', () => {
  const visions = [
    { hidden_size: 1280, patch_size: 14 }, // ViT-H/14
    { hidden_size: 1024, patch_size: 14, image_size: 336 }, // ViT-L/14 of 336 pixels
    { hidden_size: 768, patch_size: 16 }, // ViT-B/16
    {}, // ViT-B/32
    tiny.vision_config,
  ];
  const sizes = visions.map((vision_config) => visionSizeOf({ vision_config }));
  expect(sizes.map((size) => Math.max(...encodedTogether(300, size)))).toEqual([8, 8, 16, 64, 64]);
  for (const size of sizes) {
    for (let count = 0; count < 200; count++) {
      const places = encodedTogether(count, size).reduce((sum, batch) => sum + batch, 0);
      expect(places).toBe(8 * Math.ceil(count / 8));
    }
  }
  expect([96, 48, 13].map((count) => encodedTogether(count, sizes.at(-1)!))).toEqual([
    [64, 32],
    [32, 16],
    [8, 8],
  ]);
  expect(visionSizeOf({ vision_config: {}, vision_config_dict: { image_size: 32 } }).imageSize).toBe(32);
});

test("a picture's vector is the same in any batch and place", async () => {
  const parameters = new Parameters({ storage: 'f16' });
  const network = new CLIPVisionModelWithProjection(parameters, tiny.vision_config);
  await initializeParameters(device, parameters, 1);
  const process = imageProcessor({ size: 16, crop: [16, 16] });
  const encoder = await ImageEncoder.create(
    device,
    (pixels) => network.forward(pixels).imageEmbeds,
    process,
    visionSizeOf(tiny),
  );
  const images = Array.from({ length: 109 }, (_, i) => pictureByRule(`picture ${i}`, 20, 16));
  const vectors = await encoder.unitVectors(images); // 64, 32, 8 and 5 of 8
  expect(new Set(vectors.map(String)).size).toBe(images.length);
  expect((await encoder.unitVectors(images.toReversed())).reverse()).toEqual(vectors);
  for (const i of [0, 70, 100, 108]) expect(await encoder.unitVectors([images[i]!])).toEqual([vectors[i]]);
  expect(await encoder.unitVectors([])).toEqual([]);
  for (const each of [encoder, ...parameters.all.map(({ tensor }) => tensor)]) each.dispose();
});
