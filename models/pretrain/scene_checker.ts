/**
 * Reads a picture of a scene back by image analysis, and compares it with a caption: objects, colours, sizes, counts,
 * relations, in the manner of GenEval (Ghosh et al. 2023). It knows the world's rules and no network.
 */
import type { ObjectWords, SceneWords } from './caption.js';
import { colors, shapes, sizes } from './caption.js';
import { background, coverage, palette, radii, relationOf, sceneSize } from './scenes.js';

/** An object found in a picture. */
export interface FoundObject extends ObjectWords {
  readonly x: number;
  readonly y: number;
  /** How well the best shape fits the object's pixels, at most 1 (intersection over union of the coverages). */
  readonly fit: number;
}

const threshold = 0.18; // distance from the background, in RGB, that counts as an object
const smallestArea = 30; // pixels; smaller spots are noise
const poorestFit = 0.6; // an object that fits no shape better is not a shape of this world

const at = (pixels: ArrayLike<number>, channel: number, i: number): number =>
  pixels[channel * sceneSize * sceneSize + i]!;

/** A 3 x 3 box blur, which takes most of the noise before objects are told from the background. */
function smooth(pixels: ArrayLike<number>): Float32Array {
  const out = new Float32Array(pixels.length);
  const last = sceneSize - 1;
  for (let row = 0; row < 3 * sceneSize; row++) {
    const y = row % sceneSize;
    const here = row * sceneSize;
    const rows = [y > 0 ? here - sceneSize : here, here, y < last ? here + sceneSize : here];
    for (let x = 0; x < sceneSize; x++) {
      const [left, right] = [x > 0 ? x - 1 : x, x < last ? x + 1 : x];
      let sum = 0;
      for (const start of rows) {
        sum += pixels[start + left]!;
        sum += pixels[start + x]!;
        sum += pixels[start + right]!;
      }
      out[here + x] = sum / 9;
    }
  }
  return out;
}

/** The distance of each pixel from the background, in RGB. */
function strengthOf(pixels: ArrayLike<number>): Float32Array {
  const strength = new Float32Array(sceneSize * sceneSize);
  for (let i = 0; i < strength.length; i++) {
    let squares = 0;
    for (let c = 0; c < 3; c++) squares += (at(pixels, c, i) - background[c]!) ** 2;
    strength[i] = Math.sqrt(squares);
  }
  return strength;
}

/** Pixels of each connected region (of eight neighbours) that differs from the background. */
function regions(strength: Float32Array): number[][] {
  const differs = (i: number): boolean => strength[i]! > threshold;
  const seen = new Uint8Array(sceneSize * sceneSize);
  const found: number[][] = [];
  for (let start = 0; start < seen.length; start++) {
    if (seen[start] || !differs(start)) continue;
    seen[start] = 1;
    const region = [start];
    for (const i of region) {
      const [x, y] = [i % sceneSize, Math.floor(i / sceneSize)];
      for (let v = Math.max(0, y - 1); v <= Math.min(sceneSize - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(sceneSize - 1, x + 1); u++) {
          const j = v * sceneSize + u;
          if (seen[j] || !differs(j)) continue;
          seen[j] = 1;
          region.push(j);
        }
      }
    }
    if (region.length >= smallestArea) found.push(region);
  }
  return found;
}

/** The palette's colour nearest to the region's, taken where it is most different from the background. */
function colorOf(pixels: ArrayLike<number>, region: readonly number[], strength: Float32Array): ObjectWords['color'] {
  // A third of the pixels: the others are mixed with the background at the edge.
  const core = [...region].sort((a, b) => strength[b]! - strength[a]!).slice(0, Math.ceil(region.length / 3));
  const mean = [0, 1, 2].map((c) => core.reduce((sum, i) => sum + at(pixels, c, i), 0) / core.length);
  const distance = (name: ObjectWords['color']): number =>
    Math.hypot(...[0, 1, 2].map((c) => mean[c]! - palette[name][c]!));
  return colors.reduce((best, name) => (distance(name) < distance(best) ? name : best));
}

/** How much of each pixel of a box is an object's colour rather than background, in [0, 1]. */
interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
  readonly alpha: Float64Array;
}

/** The box around a region, and a pixel more where the picture has one. */
function boxOf(pixels: ArrayLike<number>, region: readonly number[], color: ObjectWords['color']): Box {
  const xs = region.map((i) => i % sceneSize);
  const ys = region.map((i) => Math.floor(i / sceneSize));
  const [left, right] = [Math.max(0, Math.min(...xs) - 1), Math.min(sceneSize - 1, Math.max(...xs) + 1)];
  const [top, bottom] = [Math.max(0, Math.min(...ys) - 1), Math.min(sceneSize - 1, Math.max(...ys) + 1)];
  const direction = [0, 1, 2].map((c) => palette[color][c]! - background[c]!);
  const squared = direction.reduce((sum, d) => sum + d * d, 0);
  const [width, height] = [right - left + 1, bottom - top + 1];
  const alpha = new Float64Array(width * height);
  for (let i = 0; i < alpha.length; i++) {
    const pixel = (top + Math.floor(i / width)) * sceneSize + left + (i % width);
    let along = 0;
    for (let c = 0; c < 3; c++) along += direction[c]! * (at(pixels, c, pixel) - background[c]!);
    alpha[i] = Math.min(1, Math.max(0, along / squared));
  }
  return { left, top, width, height, alpha };
}

/** Coverage by a shape around a centre (quarter pixels), blurred as `smooth` blurs the picture. */
interface Template {
  /** Pixels from the centre's whole part to the first row and column. */
  readonly reach: number;
  readonly width: number;
  readonly alpha: Float32Array;
}

const templates = new Map<string, Template>();

function templateOf(shape: ObjectWords['shape'], size: ObjectWords['size'], x: number, y: number): Template {
  const key = `${shape} ${size} ${x} ${y}`;
  const known = templates.get(key);
  if (known) return known;
  const reach = Math.ceil(1.2 * radii[size]) + 2;
  const width = 2 * reach + 2;
  const wide = width + 2; // a pixel more on each side, for the blur
  const sharp = Float64Array.from({ length: wide * wide }, (_, i) =>
    coverage(shape, (i % wide) - 1 - reach, Math.floor(i / wide) - 1 - reach, x, y, radii[size]),
  );
  const alpha = new Float32Array(width * width);
  for (let v = 0; v < width; v++) {
    for (let u = 0; u < width; u++) {
      let sum = 0;
      for (let dv = 0; dv < 3; dv++) for (let du = 0; du < 3; du++) sum += sharp[(v + dv) * wide + u + du]!;
      alpha[v * width + u] = sum / 9;
    }
  }
  const made = { reach, width, alpha };
  templates.set(key, made);
  return made;
}

/** Intersection over union of a box's object with a shape around (x, y). */
function overlap(box: Box, shape: ObjectWords['shape'], size: ObjectWords['size'], x: number, y: number): number {
  const [wholeX, wholeY] = [Math.floor(x), Math.floor(y)];
  const { reach, width, alpha } = templateOf(shape, size, x - wholeX, y - wholeY);
  let both = 0;
  let either = 0;
  for (let row = 0; row < box.height; row++) {
    const v = box.top + row - wholeY + reach;
    const inRows = v >= 0 && v < width;
    for (let column = 0; column < box.width; column++) {
      const u = box.left + column - wholeX + reach;
      const expected = inRows && u >= 0 && u < width ? alpha[v * width + u]! : 0;
      const found = box.alpha[row * box.width + column]!;
      both += found < expected ? found : expected;
      either += found < expected ? expected : found;
    }
  }
  return both / Math.max(either, 1e-9);
}

const shifts = [-1.5, -0.75, 0, 0.75, 1.5];

/** The shape, size and centre whose coverage meets the region's pixels best. */
function fitShape(pixels: ArrayLike<number>, region: readonly number[], color: ObjectWords['color']): FoundObject {
  const box = boxOf(pixels, region, color);
  const [middleX, middleY] = [box.left + (box.width - 1) / 2, box.top + (box.height - 1) / 2];
  const extent = (Math.max(box.width, box.height) - 1) / 2 - 1;
  let best: FoundObject = { shape: 'circle', color, size: 'large', x: middleX, y: middleY, fit: 0 };
  for (const shape of shapes) {
    for (const size of sizes) {
      if (Math.abs(radii[size] - extent) > 3) continue; // of the box around the region
      for (const dy of shifts) {
        for (const dx of shifts) {
          const [x, y] = [middleX + dx, middleY + dy];
          const fit = overlap(box, shape, size, x, y);
          if (fit > best.fit) best = { shape, color, size, x, y, fit };
        }
      }
    }
  }
  return best;
}

/** The objects of a picture [3, 64, 64] in [0, 1]; what fits no shape of the world is left out of none, but has a low `fit`. */
export function readScene(pixels: ArrayLike<number>): FoundObject[] {
  const strength = strengthOf(pixels);
  return regions(strengthOf(smooth(pixels))).map((region) =>
    fitShape(pixels, region, colorOf(pixels, region, strength)),
  );
}

export interface SceneScore {
  /** Everything the caption says is there, and nothing else. */
  readonly correct: boolean;
  /** Share in [0, 1]: of the caption's objects found by shape and colour, of their sizes, the count, and the relation. */
  readonly score: number;
  readonly found: readonly FoundObject[];
}

/** Holds a picture [3, 64, 64] in [0, 1] against a caption's words. */
export function checkScene(pixels: ArrayLike<number>, words: SceneWords): SceneScore {
  const found = readScene(pixels);
  const left = found.filter(({ fit }) => fit >= poorestFit);
  const matched = words.objects.map((wanted) => {
    const fits = (object: FoundObject, size: boolean): boolean =>
      object.shape === wanted.shape && object.color === wanted.color && (!size || object.size === wanted.size);
    const match = left.find((object) => fits(object, true)) ?? left.find((object) => fits(object, false));
    if (match) left.splice(left.indexOf(match), 1);
    return match;
  });
  const parts = matched.flatMap((match, i) => [match ? 1 : 0, match?.size === words.objects[i]!.size ? 1 : 0]);
  parts.push(found.length === words.objects.length ? 1 : 0);
  if (words.relation) {
    const [first, second] = matched;
    parts.push(first && second && relationOf(first, second) === words.relation ? 1 : 0);
  }
  const score = parts.reduce((sum: number, part) => sum + part, 0) / parts.length;
  return { correct: score === 1, score, found };
}
