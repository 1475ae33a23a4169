/** Rewards for pictures that fit their prompt, by CLIP and its kin. */
import type { Device } from '../../../engine/index.js';
import type { Reward } from '../../rewards/reward.js';
import { loadImageText } from './image_text.js';

/** The cosine of picture and prompt by a CLIPModel's folder: CLIPScore (Hessel et al. 2021) without its factor. About 0.25. */
export async function clipScore(device: Device, name: string, folder: string): Promise<Reward> {
  const model = await loadImageText(device, folder);
  return { name, score: (images, { warn } = {}) => model.cosines(images, warn), dispose: () => model.dispose() };
}

/**
 * PickScore (Kirstain et al. 2023): the cosine times the network's own factor, of the folder of PickScore_v1 with the
 * tokenizer and preprocessor_config.json of the CLIP it was made from. About 19 to 26; Flow-GRPO divides by 26.
 */
export async function pickScore(device: Device, name: string, folder: string): Promise<Reward> {
  const model = await loadImageText(device, folder);
  const scale = await model.scale();
  return {
    name,
    score: async (images, { warn } = {}) => (await model.cosines(images, warn)).map((cosine) => scale * cosine),
    dispose: () => model.dispose(),
  };
}
