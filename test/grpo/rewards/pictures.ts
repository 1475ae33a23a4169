/** Pictures for the tests of rewards, by a rule that test/reference/make_reward_fixtures.py has too. */
import type { RewardImage } from '../../../grpo/rewards/reward.js';
import { stream } from '../../models/rule.js';

/** Ramps, stripes and a checkerboard under noise. */
export function pictureByRule(name: string, width: number, height: number, prompt = ''): RewardImage {
  const noise = stream(name, 3 * width * height);
  const rgb = new Uint8Array(3 * width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const even = Math.floor(x / 6) + Math.floor(y / 9);
      [(7 * x + 3 * y) % 256, 40 + 50 * (x % 4), 255 * (even % 2)].forEach((level, c) => {
        const i = 3 * (y * width + x) + c;
        rgb[i] = Math.min(255, Math.max(0, level + Math.floor(80 * noise[i]!)));
      });
    }
  }
  return { rgb, width, height, prompt, meta: {} };
}

/** A picture of one colour. */
export const plainPicture = (color: readonly [number, number, number], prompt = ''): RewardImage => ({
  rgb: Uint8Array.from({ length: 48 }, (_, i) => color[i % 3]!),
  width: 4,
  height: 4,
  prompt,
  meta: {},
});
