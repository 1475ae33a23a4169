/** Scenes: pictures of a coloured shape on a coloured ground, 32 x 32 RGB, in widely varied styles, drawn from a seed. */
import { type ColorName, type SceneWords, type ShapeName, type Split, wordsOf, writeCaption } from './caption.js';
import { type Random, randomStream } from './random.js';

export const sceneSize = 32;

/** Linear RGB is not needed here: values are display values in [0, 1]. */
export type Rgb = readonly [number, number, number];

export const palette: Readonly<Record<ColorName, Rgb>> = {
  red: [0.88, 0.14, 0.14],
  orange: [0.96, 0.52, 0.08],
  yellow: [0.95, 0.87, 0.16],
  green: [0.14, 0.66, 0.22],
  cyan: [0.12, 0.78, 0.84],
  blue: [0.16, 0.3, 0.92],
  purple: [0.62, 0.2, 0.78],
  white: [0.96, 0.96, 0.96],
};

/** What a caption leaves open, each from 0 to 1 and uniform among scenes: what preferences choose from. */
export interface Style {
  /** How large the shape is: its radius goes from 4.5 to 11.5 pixels. */
  readonly size: number;
  /** Saturation of both colours, from pale to full. */
  readonly vivid: number;
  /** How even the ground is: 0 is full of coloured clouds, 1 has none. */
  readonly clean: number;
  /** How sharp the edge is: 0 is blurred. */
  readonly sharp: number;
  /** How dark the ground is: 0 leaves 0.85 of its light, 1 leaves 0.3. */
  readonly dark: number;
  /** Centre of the shape in pixels, uniform where it fits. */
  readonly x: number;
  readonly y: number;
}

/** Radius of a shape in pixels. */
export const radiusOf = (size: number): number => 4.5 + 7 * size;

/** How near the middle a shape is: 1 in it, falling to 0 at a distance of 11 pixels. */
export const centring = ({ x, y }: Style): number =>
  Math.max(0, 1 - Math.hypot(x - sceneSize / 2, y - sceneSize / 2) / 11);

/** A style at random. */
export function drawStyle(random: Random): Style {
  const size = random.next();
  const slack = Math.max(0.5, sceneSize / 2 - 0.5 - radiusOf(size));
  const place = (): number => sceneSize / 2 + (2 * random.next() - 1) * slack;
  return {
    size,
    vivid: random.next(),
    clean: random.next(),
    sharp: random.next(),
    dark: random.next(),
    x: place(),
    y: place(),
  };
}

/** Signed distance to the outline of a shape of radius 1, negative inside; v grows downward. */
export const signedDistance: Readonly<Record<ShapeName, (u: number, v: number) => number>> = {
  circle: (u, v) => Math.hypot(u, v) - 1,
  square: (u, v) => Math.max(Math.abs(u), Math.abs(v)) - 0.86,
  triangle: (u, v) => Math.max(v - 0.8, (2 * Math.abs(u) - 1.1 - v) / Math.sqrt(5)),
  cross: (u, v) => {
    const [a, b] = [Math.abs(u), Math.abs(v)];
    return Math.min(Math.max(a - 1, b - 0.34), Math.max(a - 0.34, b - 1));
  },
  ring: (u, v) => Math.abs(Math.hypot(u, v) - 0.74) - 0.26,
  diamond: (u, v) => (Math.abs(u) + Math.abs(v) - 1.1) / Math.SQRT2,
};

/** Colour of a ground: darkened, and paler the less vivid it is. */
export function groundColor(color: ColorName, vivid: number, dark: number): Rgb {
  const level = 0.3 + 0.55 * (1 - dark);
  return towardsGrey(scaled(palette[color], level), saturation(vivid), (mean) => mean);
}

/** Colour of a shape: paler the less vivid it is, and then towards a grey that stands out from pale grounds. */
export const shapeColor = (color: ColorName, vivid: number): Rgb =>
  towardsGrey(palette[color], saturation(vivid), (mean) => 0.5 * mean + 0.25);

const saturation = (vivid: number): number => 0.35 + 0.65 * vivid;
const scaled = ([r, g, b]: Rgb, by: number): Rgb => [r * by, g * by, b * by];

function towardsGrey(color: Rgb, amount: number, greyOf: (mean: number) => number): Rgb {
  const grey = (1 - amount) * greyOf((color[0] + color[1] + color[2]) / 3);
  const [r, g, b] = scaled(color, amount);
  return [r + grey, g + grey, b + grey];
}

/** Width of an edge in pixels: what a logistic function of the distance is stretched by. */
const softness = (sharp: number): number => 0.175 + 0.8 * (1 - sharp);

/** The share of the pixel whose middle is (x, y) that a shape covers, with an edge of the given width. */
export function coverage(
  shape: ShapeName,
  x: number,
  y: number,
  { centerX, centerY, radius, edge }: { centerX: number; centerY: number; radius: number; edge: number },
): number {
  const distance = radius * signedDistance[shape]((x - centerX) / radius, (y - centerY) / radius);
  return 1 / (1 + Math.exp(distance / edge));
}

/** Knots of the clouds along a side. */
export const cloudKnots = 5;

/** Weights of the knots for each pixel of a side: cubic convolution (Keys 1981), the outer knots repeated. */
export const cloudWeights: readonly (readonly number[])[] = Array.from({ length: sceneSize }, (_, pixel) => {
  const at = ((pixel + 0.5) * cloudKnots) / sceneSize - 0.5;
  const weights = Array<number>(cloudKnots).fill(0);
  for (let knot = Math.floor(at) - 1; knot <= Math.floor(at) + 2; knot++) {
    const t = Math.abs(at - knot);
    const weight = t <= 1 ? (1.5 * t - 2.5) * t * t + 1 : ((-0.5 * t + 2.5) * t - 4) * t + 2;
    weights[Math.min(cloudKnots - 1, Math.max(0, knot))]! += weight;
  }
  return weights;
});

/** A smooth random field of deviation about 0.7, [32, 32]. */
function drawClouds(random: Random): Float32Array {
  const values = Array.from({ length: cloudKnots * cloudKnots }, () => random.normal());
  const field = new Float32Array(sceneSize * sceneSize);
  for (let y = 0; y < sceneSize; y++) {
    const row = Array.from({ length: cloudKnots }, (_, x) => {
      let sum = 0;
      for (let k = 0; k < cloudKnots; k++) sum += cloudWeights[y]![k]! * values[k * cloudKnots + x]!;
      return sum;
    });
    for (let x = 0; x < sceneSize; x++) {
      let sum = 0;
      for (let k = 0; k < cloudKnots; k++) sum += cloudWeights[x]![k]! * row[k]!;
      field[y * sceneSize + x] = sum;
    }
  }
  return field;
}

/** Draws a scene: [3, 32, 32] in [0, 1]. The stream gives the clouds. */
export function drawScene({ color, shape, ground }: SceneWords, style: Style, random: Random): Float32Array {
  const plane = sceneSize * sceneSize;
  const pixels = new Float32Array(3 * plane);
  const [front, back] = [shapeColor(color, style.vivid), groundColor(ground, style.vivid, style.dark)];
  const amplitude = 0.16 * (1 - style.clean);
  const light = drawClouds(random);
  const place = { centerX: style.x, centerY: style.y, radius: radiusOf(style.size), edge: softness(style.sharp) };
  const mask = Float32Array.from({ length: plane }, (_, i) =>
    coverage(shape, (i % sceneSize) + 0.5, Math.floor(i / sceneSize) + 0.5, place),
  );
  for (let c = 0; c < 3; c++) {
    const tint = drawClouds(random);
    for (let i = 0; i < plane; i++) {
      const behind = back[c]! + amplitude * (0.9 * light[i]! + 0.5 * tint[i]!);
      pixels[c * plane + i] = Math.min(1, Math.max(0, behind + mask[i]! * (front[c]! - behind)));
    }
  }
  return pixels;
}

export interface Scene {
  readonly caption: string;
  readonly words: SceneWords;
  readonly style: Style;
  /** The picture, [3, 32, 32] in [0, 1]. */
  readonly pixels: Float32Array;
}

/** A scene of the given words in a random style. */
export function sceneOf(words: SceneWords, random: Random, style: Style = drawStyle(random)): Scene {
  return { caption: writeCaption(words), words, style, pixels: drawScene(words, style, random) };
}

/** Scene number `index` of a split: a function of seed, split and index alone. */
export function makeScene(seed: number, index: number, split: Split): Scene {
  const random = randomStream(
    Math.imul(seed, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35) ^ (split === 'train' ? 0 : 0x27d4eb2f),
  );
  return sceneOf(random.pick(wordsOf[split]), random);
}
