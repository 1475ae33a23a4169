/**
 * The captions of the scenes: a small grammar, written and read.
 *
 *   caption = ("a" | "an") colour shape "on" colour
 *
 * The second colour is the ground's and another one than the shape's: 336 captions.
 */
import { strip } from '../text/unicode.js';
import { hashText, type Random } from './random.js';

export const shapes = ['circle', 'square', 'triangle', 'cross', 'ring', 'diamond'] as const;
export const colors = ['red', 'orange', 'yellow', 'green', 'cyan', 'blue', 'purple', 'white'] as const;

export type ShapeName = (typeof shapes)[number];
export type ColorName = (typeof colors)[number];

/** What a caption says. */
export interface SceneWords {
  readonly color: ColorName;
  readonly shape: ShapeName;
  /** Colour of the ground. */
  readonly ground: ColorName;
}

/** The three things a caption says. */
export const claims = ['color', 'shape', 'ground'] as const;

/** The caption of a scene's words: "a red circle on blue". */
export const writeCaption = ({ color, shape, ground }: SceneWords): string =>
  `${/^[aeiou]/.test(color) ? 'an' : 'a'} ${color} ${shape} on ${ground}`;

const pattern = new RegExp(`^an? (${colors.join('|')}) (${shapes.join('|')}) on (${colors.join('|')})$`);

/** The words of a caption, in any case of letters; undefined where the grammar does not know it. */
export function readCaption(caption: string): SceneWords | undefined {
  const found = pattern.exec(strip(caption).toLowerCase().replace(/\.$/, ''));
  if (!found || found[1] === found[3]) return undefined;
  // The pattern knows no other words.
  return { color: found[1] as ColorName, shape: found[2] as ShapeName, ground: found[3] as ColorName };
}

/** Every scene's words, in a fixed order. */
export const allWords: readonly SceneWords[] = colors.flatMap((color) =>
  shapes.flatMap((shape) => colors.filter((ground) => ground !== color).map((ground) => ({ color, shape, ground }))),
);

/** One caption in eight, by its hash, is never trained on. */
export const isHeldOut = (caption: string): boolean => hashText(caption) % 8 === 0;

/** Which captions: those that models are trained on, or those that they never see. */
export type Split = 'train' | 'heldOut';

/** The words of a split's captions. */
export const wordsOf: Readonly<Record<Split, readonly SceneWords[]>> = {
  train: allWords.filter((words) => !isHeldOut(writeCaption(words))),
  heldOut: allWords.filter((words) => isHeldOut(writeCaption(words))),
};

/** Other words with one thing changed, or with the two colours exchanged: each of the four as often. */
export function varyWords(words: SceneWords, random: Random): SceneWords {
  const { color, shape, ground } = words;
  const otherColor = (): ColorName => random.pick(colors.filter((name) => name !== color && name !== ground));
  switch (random.below(4)) {
    case 0:
      return { ...words, color: otherColor() };
    case 1:
      return { ...words, shape: random.pick(shapes.filter((name) => name !== shape)) };
    case 2:
      return { ...words, ground: otherColor() };
    default:
      return { ...words, color: ground, ground: color };
  }
}

/** How many of the three things that a caption says differ between two. */
export const wrongClaims = (asked: SceneWords, shown: SceneWords): number =>
  claims.filter((claim) => asked[claim] !== shown[claim]).length;
