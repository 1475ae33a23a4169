/** Whether a picture of a scene shows what its caption says, by image analysis: no network, so nothing to be fooled. */
import { valuesOf } from '../../../models/pictures/png.js';
import { readCaption } from '../../../models/scenes/caption.js';
import { checkScene } from '../../../models/scenes/reader/scene_checker.js';
import { sceneSize } from '../../../models/scenes/scenes.js';
import { type Reward, RewardError } from '../../rewards/reward.js';

/**
 * The share of a caption's three words, of colour, shape and ground, that are read back out of the picture, in the manner
 * of GenEval (Ghosh et al. 2023) but graded: 1 is a picture that is right in everything. Being right in part counts
 * because a group of pictures that are all wrong somewhere would teach nothing otherwise.
 */
export function sceneChecker(name = 'scene-checker'): Reward {
  return {
    name,
    score: async (images) =>
      images.map((image) => {
        const { prompt, width, height } = image;
        const words = readCaption(prompt);
        if (!words) throw new RewardError(name, `can't read the prompt "${prompt}" as a scene`, images.length);
        if (width !== sceneSize || height !== sceneSize) {
          const expected = `expected ${sceneSize} x ${sceneSize}`;
          throw new RewardError(name, `found a picture of ${width} x ${height}, ${expected},`, images.length);
        }
        return checkScene(valuesOf(image), words).score;
      }),
  };
}
