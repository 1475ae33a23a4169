/** Whether a picture of a scene shows what its caption says, by image analysis: no network, so nothing to be fooled. */
import { valuesOf } from '../../../models/pictures/png.js';
import { claims, readCaption, type SceneWords } from '../../../models/scenes/caption.js';
import { readScene } from '../../../models/scenes/reader/scene_checker.js';
import { sceneSize } from '../../../models/scenes/scenes.js';
import { type Reward, RewardError, type RewardImage } from '../../rewards/reward.js';

/** What a caption says of a scene: one of its three words. */
export type SceneClaim = (typeof claims)[number];

/** What was read in a picture, for as long as somebody has it: the checker and its three parts score the same pictures. */
const readings = new WeakMap<RewardImage, SceneWords>();

/**
 * The share of a caption's three words, of colour, shape and ground, that are read back out of the picture, in the manner
 * of GenEval (Ghosh et al. 2023) but graded: 1 is a picture that is right in everything. Being right in part counts
 * because a group of pictures that are all wrong somewhere would teach nothing otherwise. With `only`, some of the words count.
 */
export function sceneChecker(name = 'scene-checker', only: readonly SceneClaim[] = claims): Reward {
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
        const found = readings.get(image) ?? readScene(valuesOf(image)).words;
        readings.set(image, found);
        return only.filter((claim) => found[claim] === words[claim]).length / only.length;
      }),
  };
}
