/** How small a file a picture makes (Black et al. 2023): a reward for plain pictures; of negative weight, for busy ones. */
import { encodeJpeg } from './jpeg.js';
import type { Reward, RewardImage } from './reward.js';

/** Minus the kilobytes (1000 bytes) of a JPEG of quality 95, over 500 as in Flow-GRPO. */
export const jpegCompressibility = (name = 'jpeg-compressibility'): Reward =>
  compressibility(name, (image) => encodeJpeg(image, 95));

/** Minus the kilobytes (1000 bytes) of the file that `encode` makes, over 500. */
export const compressibility = (name: string, encode: (image: RewardImage) => Uint8Array): Reward => ({
  name,
  score: async (images) => images.map((image) => -encode(image).length / 500_000),
});
