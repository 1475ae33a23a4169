/** Scenes: pictures of captioned shapes, 64 x 64 RGB, drawn from a seed. */
import { drawWords, isHeldOut, type ObjectWords, type SceneWords, type ShapeName, writeCaption } from './caption.js';
import { type Random, randomStream } from './random.js';

export const sceneSize = 64;

/** Linear RGB is not needed here: values are display values in [0, 1]. */
export type Rgb = readonly [number, number, number];

export const background: Rgb = [0.1, 0.1, 0.14];

export const palette: Readonly<Record<ObjectWords['color'], Rgb>> = {
  red: [0.88, 0.14, 0.14],
  orange: [0.96, 0.52, 0.08],
  yellow: [0.95, 0.87, 0.16],
  green: [0.14, 0.66, 0.22],
  cyan: [0.12, 0.78, 0.84],
  blue: [0.16, 0.3, 0.92],
  purple: [0.62, 0.2, 0.78],
  white: [0.95, 0.95, 0.95],
};

/** Half the extent of a shape in pixels. */
export const radii: Readonly<Record<ObjectWords['size'], number>> = { small: 6, medium: 8.5, large: 11.5 };

/** Whether a point is in a shape of radius 1 around the origin; v grows downward. */
const inside: Readonly<Record<ShapeName, (u: number, v: number) => boolean>> = {
  circle: (u, v) => u * u + v * v <= 1,
  square: (u, v) => Math.max(Math.abs(u), Math.abs(v)) <= 0.86,
  triangle: (u, v) => v <= 0.8 && v >= 2 * Math.abs(u) - 1.1,
  cross: (u, v) => Math.min(Math.abs(u), Math.abs(v)) <= 0.32 && Math.max(Math.abs(u), Math.abs(v)) <= 1,
  ring: (u, v) => u * u + v * v <= 1 && u * u + v * v >= 0.3,
  diamond: (u, v) => Math.abs(u) + Math.abs(v) <= 1.1,
};

const samples = [-0.375, -0.125, 0.125, 0.375]; // sub-pixel positions along an axis

/** The share of pixel (x, y) that a shape of the given centre and radius covers: 16 samples. */
export function coverage(
  shape: ShapeName,
  x: number,
  y: number,
  centerX: number,
  centerY: number,
  radius: number,
): number {
  let hits = 0;
  for (const dy of samples) {
    for (const dx of samples) {
      if (inside[shape]((x + dx - centerX) / radius, (y + dy - centerY) / radius)) hits++;
    }
  }
  return hits / 16;
}

/** An object in its place: centre in pixels. */
export interface PlacedObject extends ObjectWords {
  readonly x: number;
  readonly y: number;
}

export interface Scene {
  readonly caption: string;
  readonly words: SceneWords;
  readonly objects: readonly PlacedObject[];
  /** [3, 64, 64] in [0, 1]. */
  readonly pixels: Float32Array;
}

/** Draws objects over the background: [3, 64, 64] in [0, 1]. */
export function drawScene(objects: readonly PlacedObject[]): Float32Array {
  const plane = sceneSize * sceneSize;
  const pixels = new Float32Array(3 * plane);
  for (let c = 0; c < 3; c++) pixels.fill(background[c]!, c * plane, (c + 1) * plane);
  for (const { shape, color, size, x: cx, y: cy } of objects) {
    const radius = radii[size];
    const reach = Math.ceil(1.2 * radius) + 1;
    for (let y = Math.max(0, Math.floor(cy) - reach); y <= Math.min(sceneSize - 1, cy + reach); y++) {
      for (let x = Math.max(0, Math.floor(cx) - reach); x <= Math.min(sceneSize - 1, cx + reach); x++) {
        const alpha = coverage(shape, x, y, cx, cy, radius);
        if (alpha === 0) continue;
        for (let c = 0; c < 3; c++) {
          const at = c * plane + y * sceneSize + x;
          pixels[at] = pixels[at]! + alpha * (palette[color][c]! - pixels[at]!);
        }
      }
    }
  }
  return pixels;
}

/** How the first object lies to the second: the relation along the longer distance. */
export function relationOf(
  first: { x: number; y: number },
  second: { x: number; y: number },
): NonNullable<SceneWords['relation']> {
  const [dx, dy] = [first.x - second.x, first.y - second.y];
  if (Math.abs(dx) > Math.abs(dy)) return dx < 0 ? 'left of' : 'right of';
  return dy < 0 ? 'above' : 'below';
}

const gap = 3; // pixels between the squares around two objects, so that they stay apart after blurring
const clearness = 1.3; // a relation is drawn only where its distance is this many times the other

/**
 * Where the centres of objects lie: anywhere, or on a grid of 5 x 5 places. Anywhere is for networks that read pictures. On the
 * grid a small generator learns to draw and to follow words several times faster: an object looks the same from place to place.
 */
export type Placement = 'free' | 'grid';

const gridPlaces = [16, 24, 32, 40, 48];

/** Places objects so that nothing overlaps or leaves the picture and the relation holds clearly; undefined when it did not fit. */
function place({ objects, relation }: SceneWords, random: Random, placement: Placement): PlacedObject[] | undefined {
  const placed: PlacedObject[] = [];
  for (const words of objects) {
    const reach = 1.1 * radii[words.size] + 1;
    const draw = (): number =>
      placement === 'grid' ? random.pick(gridPlaces) : reach + random.next() * (sceneSize - 1 - 2 * reach);
    const object = { ...words, x: draw(), y: draw() };
    const apart = placed.every((other) => {
      const distance = reach + 1.1 * radii[other.size] + gap;
      return Math.max(Math.abs(object.x - other.x), Math.abs(object.y - other.y)) >= distance;
    });
    if (!apart) return undefined;
    placed.push(object);
  }
  const [first, second] = placed;
  if (relation && first && second) {
    const [dx, dy] = [Math.abs(first.x - second.x), Math.abs(first.y - second.y)];
    if (relationOf(first, second) !== relation || Math.max(dx, dy) < clearness * Math.min(dx, dy)) return undefined;
  }
  return placed;
}

/** The scene of the given words; positions come from the stream. Throws when the objects can't be placed. */
export function placeScene(words: SceneWords, random: Random, placement: Placement = 'free'): Scene {
  for (let attempt = 0; attempt < 10_000; attempt++) {
    const objects = place(words, random, placement);
    if (objects) return { caption: writeCaption(words), words, objects, pixels: drawScene(objects) };
  }
  throw new Error(`scene: "${writeCaption(words)}" does not fit into ${sceneSize} x ${sceneSize} pixels`);
}

/** Scene number `index` of a split: a function of seed, split, index and placement alone. */
export function makeScene(
  seed: number,
  index: number,
  split: 'train' | 'heldOut',
  placement: Placement = 'free',
): Scene {
  const random = randomStream(
    Math.imul(seed, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35) ^ (split === 'train' ? 0 : 0x27d4eb2f),
  );
  for (;;) {
    const words = drawWords(random);
    if (isHeldOut(writeCaption(words)) === (split === 'heldOut')) return placeScene(words, random, placement);
  }
}
