import type { Reward, RewardImage } from './reward.js';

/**
 * How colourful a picture is: the length of the deviations of red - green and (red + green) / 2 - blue, plus 0.3 of the
 * length of their means (Hasler and Süsstrunk 2003, M^(3)), of values in [0, 1]. 0 is grey.
 */
export function colorfulnessOf({ rgb }: Pick<RewardImage, 'rgb'>): number {
  const pixels = rgb.length / 3;
  const [sum, squares] = [
    [0, 0],
    [0, 0],
  ]; // of the two differences, in half levels: whole numbers, so sums are exact
  for (let i = 0; i < rgb.length; i += 3) {
    const [red, green, blue] = [rgb[i]!, rgb[i + 1]!, rgb[i + 2]!];
    for (const [d, difference] of [2 * (red - green), red + green - 2 * blue].entries()) {
      sum[d]! += difference;
      squares[d]! += difference * difference;
    }
  }
  const mean = sum.map((each) => each / pixels);
  const variance = squares.map((each, d) => Math.max(0, each / pixels - mean[d]! ** 2));
  return (Math.sqrt(variance[0]! + variance[1]!) + 0.3 * Math.hypot(mean[0]!, mean[1]!)) / (2 * 255);
}

/** Rewards colourful pictures. */
export const color = (name = 'color'): Reward => ({
  name,
  score: async (images) => images.map(colorfulnessOf),
});
