/** Pairs of scenes of one caption, drawn by the rule that the embedded models learned from: no network is needed. */
import { pictureOf } from '../../models/pictures/png.js';
import { wordsOf, writeCaption } from '../../models/scenes/caption.js';
import { randomStream } from '../../models/scenes/random.js';
import { sceneOf, sceneSize } from '../../models/scenes/scenes.js';
import type { DrawnPair } from './voter.js';

export const scenePairs = (count: number): DrawnPair[] =>
  Array.from({ length: count }, (_, i) => {
    const words = wordsOf.train[i % wordsOf.train.length]!;
    const [left, right] = [0, 1].map((side) => {
      const { pixels } = sceneOf(words, randomStream(2 * i + side));
      return pictureOf(pixels, sceneSize, sceneSize);
    });
    return { prompt: writeCaption(words), pictures: [left!, right!] };
  });
