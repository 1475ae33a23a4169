import type { Reward, RewardImage } from './reward.js';

/** The luma of Rec. 601 averaged over the picture, in [0, 1]. */
export function brightnessOf({ rgb }: Pick<RewardImage, 'rgb'>): number {
  let sum = 0;
  for (let i = 0; i < rgb.length; i += 3) sum += 299 * rgb[i]! + 587 * rgb[i + 1]! + 114 * rgb[i + 2]!;
  return sum / (1000 * 255 * (rgb.length / 3));
}

/** Rewards bright pictures. */
export const brightness = (name = 'brightness'): Reward => ({
  name,
  score: async (images) => images.map(brightnessOf),
});
