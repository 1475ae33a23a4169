/**
 * The captions of the scenes: a small grammar, written and read.
 *
 *   caption  = group | object relation object | object ", " object " and " object
 *   group    = object | ("two" | "three") [size] colour shapes
 *   object   = ("a" | "an") [size] colour shape
 *   relation = "above" | "below" | "left of" | "right of"
 *
 * An object without a size word is of medium size.
 */
import { CheckError } from '../../engine/errors.js';
import { hashText, type Random } from './random.js';

export const shapes = ['circle', 'square', 'triangle', 'cross', 'ring', 'diamond'] as const;
export const colors = ['red', 'orange', 'yellow', 'green', 'cyan', 'blue', 'purple', 'white'] as const;
export const sizes = ['small', 'medium', 'large'] as const;
export const relations = ['above', 'below', 'left of', 'right of'] as const;

export type ShapeName = (typeof shapes)[number];
export type ColorName = (typeof colors)[number];
export type SizeName = (typeof sizes)[number];
export type Relation = (typeof relations)[number];

/** What a caption says of one object. */
export interface ObjectWords {
  readonly shape: ShapeName;
  readonly color: ColorName;
  readonly size: SizeName;
}

/** What a caption says: one to three objects, and for two different ones how the first lies to the second. */
export interface SceneWords {
  readonly objects: readonly ObjectWords[];
  readonly relation?: Relation;
}

const counts = ['', 'a', 'two', 'three'] as const;

/** Whether two objects can't be told apart by words. */
export const sameObject = (a: ObjectWords, b: ObjectWords): boolean =>
  a.shape === b.shape && a.color === b.color && a.size === b.size;

const plural = (shape: ShapeName): string => (shape === 'cross' ? 'crosses' : `${shape}s`);

/** Whether no two of the objects can be told apart by words. */
export const allAlike = (objects: readonly ObjectWords[]): boolean =>
  objects.every((object) => sameObject(object, objects[0]!));

/** The shapes as a count has them. */
export const plurals: readonly string[] = shapes.map(plural);

function describe({ shape, color, size }: ObjectWords): string {
  const words = size === 'medium' ? `${color} ${shape}` : `${size} ${color} ${shape}`;
  return `${/^[aeiou]/.test(words) ? 'an' : 'a'} ${words}`;
}

/** The caption of a scene's words. Objects that are all alike are counted. */
export function writeCaption({ objects, relation }: SceneWords): string {
  const [first, second, third] = objects;
  if (!first) throw new CheckError('writeCaption: a scene has at least one object');
  if (!second) return describe(first);
  if (relation) return `${describe(first)} ${relation} ${describe(second)}`;
  if (allAlike(objects)) {
    return `${counts[objects.length]} ${describe(first).replace(/^an? /, '').replace(first.shape, plural(first.shape))}`;
  }
  return third
    ? `${describe(first)}, ${describe(second)} and ${describe(third)}`
    : `${describe(first)} and ${describe(second)}`;
}

const one = `(?:an? )?(?:(small|large) )?(${colors.join('|')}) (${shapes.join('|')})`;
const related = new RegExp(`^${one} (${relations.join('|')}) ${one}$`);
const list = new RegExp(`^${one}(?:, ${one})? and ${one}$`);
const single = new RegExp(`^${one}$`);
const counted = new RegExp(`^(two|three) (?:(small|large) )?(${colors.join('|')}) (${plurals.join('|')})$`);

function object(size: string | undefined, color: string, shape: string): ObjectWords {
  return { shape: shape as ShapeName, color: color as ColorName, size: (size as SizeName | undefined) ?? 'medium' };
}

/** The words of a caption, in any case of letters; undefined where the grammar does not know it. */
export function readCaption(caption: string): SceneWords | undefined {
  const text = caption.trim().toLowerCase().replace(/\.$/, '');
  let found = single.exec(text);
  if (found) return { objects: [object(found[1], found[2]!, found[3]!)] };
  found = related.exec(text);
  if (found) {
    const objects = [object(found[1], found[2]!, found[3]!), object(found[5], found[6]!, found[7]!)];
    return { objects, relation: found[4] as Relation };
  }
  found = list.exec(text);
  if (found) {
    const parts = [1, 4, 7].filter((at) => found![at + 1] !== undefined);
    return { objects: parts.map((at) => object(found![at], found![at + 1]!, found![at + 2]!)) };
  }
  found = counted.exec(text);
  if (!found) return undefined;
  const shape = shapes.find((name) => plural(name) === found![4])!;
  return { objects: Array(counts.indexOf(found[1] as 'two')).fill(object(found[2], found[3]!, shape)) };
}

/** Words drawn at random: a fifth single objects, a fifth counts, two fifths relations, a fifth lists of three. */
export function drawWords(random: Random): SceneWords {
  const draw = (): ObjectWords => ({
    shape: random.pick(shapes),
    color: random.pick(colors),
    size: random.pick(['small', 'medium', 'medium', 'large'] as const),
  });
  const smaller = (words: ObjectWords): ObjectWords => (words.size === 'large' ? { ...words, size: 'medium' } : words);
  const kind = random.below(5);
  if (kind === 0) return { objects: [draw()] };
  if (kind === 1) {
    const count = 2 + random.below(2);
    const words = count === 3 ? smaller(draw()) : draw();
    return { objects: Array(count).fill(words) };
  }
  if (kind === 2) {
    const objects = [smaller(draw()), smaller(draw()), smaller(draw())];
    return allAlike(objects) ? drawWords(random) : { objects };
  }
  const objects = [draw(), draw()];
  return sameObject(objects[0]!, objects[1]!) ? drawWords(random) : { objects, relation: random.pick(relations) };
}

/** One caption in eight, by its hash, is never trained on. */
export const isHeldOut = (caption: string): boolean => hashText(caption) % 8 === 0;

const opposite: Readonly<Record<Relation, Relation>> = {
  above: 'below',
  below: 'above',
  'left of': 'right of',
  'right of': 'left of',
};

/** Other words with one thing changed: a colour, shape or size, the count, the relation, or which object has which colour. */
export function varyWords(words: SceneWords, random: Random): SceneWords {
  const { objects, relation } = words;
  const [first] = objects;
  const alike = objects.length > 1 && allAlike(objects);
  const at = random.below(objects.length);
  const change = (part: Partial<ObjectWords>): SceneWords => ({
    ...words,
    objects: objects.map((object, i) => (alike || i === at ? { ...object, ...part } : object)),
  });
  const swapColors = (): SceneWords => {
    const other = (at + 1) % objects.length;
    const color = (i: number): ColorName => objects[i === at ? other : i === other ? at : i]!.color;
    return { ...words, objects: objects.map((object, i) => ({ ...object, color: color(i) })) };
  };
  const ways: (() => SceneWords)[] = [
    () => change({ color: random.pick(colors) }),
    () => change({ shape: random.pick(shapes) }),
    () => change({ size: random.pick(objects.length === 3 ? ['small', 'medium'] : sizes) }),
  ];
  if (alike) ways.push(() => ({ objects: Array(5 - objects.length).fill({ ...first!, size: 'medium' }) }));
  else if (objects.length > 1) ways.push(swapColors);
  if (relation) ways.push(() => ({ objects, relation: opposite[relation] }));
  const varied = random.pick(ways)();
  const isSame = writeCaption(varied) === writeCaption(words);
  const unclear = !alike && objects.length > 1 && allAlike(varied.objects);
  return isSame || unclear ? varyWords(words, random) : varied;
}
