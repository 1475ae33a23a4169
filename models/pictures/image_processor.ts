/**
 * Pictures as CLIP's image encoder reads them: resized, cropped, normalised. A score moves in its third digit with the
 * way of resizing, so both ways in use are here as they are, on the host: Pillow's and PyTorch's.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ModelFileError } from '../files/errors.js';
import { readable, readJson, shown } from '../files/weight_files.js';
import type { Picture } from './png.js';

/** Of the pictures that CLIP was trained on, by channel. */
export const clipMean: readonly number[] = [0.48145466, 0.4578275, 0.40821073];
export const clipStd: readonly number[] = [0.26862954, 0.26130258, 0.27577711];

export interface ImageProcessorOptions {
  /** The shorter side after resizing, or both sides as height and width. */
  readonly size: number | readonly [number, number];
  /** Height and width of the part in the middle that is kept; not larger than `size`. */
  readonly crop: readonly [number, number];
  /** From bytes to values; `factor * byte`, less the mean, over the deviation. Default 1 / 255. */
  readonly factor?: number;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  /**
   * `pillow`: bytes in and out of each pass, as in transformers' CLIPImageProcessor and OpenAI's clip. `torch`: values that
   * are never rounded, and leave [0, 1] at edges, as torchvision resizes a float tensor. Default pillow.
   */
  readonly arithmetic?: 'pillow' | 'torch';
}

/** Makes values [3, height, width] of a picture. */
export type ImageProcessor = (picture: Picture) => Float32Array;

/** A way from pictures to the values that a network reads. */
export function imageProcessor(options: ImageProcessorOptions): ImageProcessor {
  const { size, crop, factor = 1 / 255, mean = clipMean, std = clipStd, arithmetic = 'pillow' } = options;
  return (picture) => {
    const [height, width] = resizedSize(picture, size);
    const resized = resizeBicubic(picture, { height, width, arithmetic });
    const [rows, columns] = crop;
    // Where the margin is odd, transformers rounds down and torchvision rounds halves to even.
    const margin = arithmetic === 'pillow' ? Math.floor : roundHalfToEven;
    const [top, left] = [margin((height - rows) / 2), margin((width - columns) / 2)];
    const values = new Float32Array(3 * rows * columns);
    for (let c = 0; c < 3; c++) {
      for (let y = 0; y < rows; y++) {
        for (let x = 0; x < columns; x++) {
          const value = resized[3 * ((top + y) * width + left + x) + c]!;
          values[(c * rows + y) * columns + x] = (value * factor - mean[c]!) / std[c]!;
        }
      }
    }
    return values;
  };
}

function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + (floor & 1) : Math.round(value);
}

/** Height and width after resizing; the longer side is cut to a whole number. */
function resizedSize({ width, height }: Picture, size: ImageProcessorOptions['size']): readonly [number, number] {
  if (typeof size !== 'number') return size;
  const longer = Math.floor((size * Math.max(width, height)) / Math.min(width, height));
  return height <= width ? [size, longer] : [longer, size];
}

/** The samples behind one output sample: the first, and the weight of each from there on. Weights sum to 1. */
interface Taps {
  readonly first: number;
  readonly weights: readonly number[];
}

/** Keys's cubic convolution with a = -0.5 (Keys 1981). */
function cubic(distance: number): number {
  const x = Math.abs(distance);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/** Taps from `from` samples to `to`; where there are fewer, the kernel is stretched, which takes what they can't hold. */
function tapsOf(from: number, to: number): Taps[] {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - 2 * stretch + 0.5));
    const end = Math.min(from, Math.trunc(center + 2 * stretch + 0.5));
    const raw = Array.from({ length: end - first }, (_, k) => cubic((first + k - center + 0.5) / stretch));
    const sum = raw.reduce((total, weight) => total + weight, 0);
    return { first, weights: raw.map((weight) => weight / sum) };
  });
}

/** Where the samples of one axis lie in memory. */
interface Axis {
  readonly lines: number;
  readonly line: number;
  readonly step: number;
}

/** Applies taps along one axis, three channels side by side. */
function pass<A extends Uint8ClampedArray | Float32Array>(
  source: ArrayLike<number>,
  from: Axis,
  target: A,
  to: Axis,
  taps: readonly Taps[],
): A {
  const bytes = target instanceof Uint8ClampedArray;
  // Pillow's weights are whole numbers of 22 bits after the point; the sum is rounded there, then clamped to a byte.
  const one = 2 ** 22;
  const scaled = bytes
    ? taps.map(({ first, weights }) => ({
        first,
        weights: weights.map((weight) => Math.trunc(weight * one + (weight < 0 ? -0.5 : 0.5))),
      }))
    : taps;
  for (let line = 0; line < from.lines; line++) {
    scaled.forEach(({ first, weights }, i) => {
      for (let c = 0; c < 3; c++) {
        const start = line * from.line + first * from.step + c;
        let sum = 0;
        for (let k = 0; k < weights.length; k++) sum += weights[k]! * source[start + k * from.step]!;
        target[line * to.line + i * to.step + c] = bytes ? Math.floor(sum / one + 0.5) : sum;
      }
    });
  }
  return target;
}

interface ResizeOptions {
  readonly height: number;
  readonly width: number;
  readonly arithmetic: NonNullable<ImageProcessorOptions['arithmetic']>;
}

/** Resizes by bicubic convolution, antialiased: rows first, then columns. Values are bytes, or floats from 0 to 255. */
export function resizeBicubic(
  picture: Picture,
  { height, width, arithmetic }: ResizeOptions,
): Uint8Array | Uint8ClampedArray | Float32Array {
  const make = (count: number) => (arithmetic === 'pillow' ? new Uint8ClampedArray(count) : new Float32Array(count));
  let values: Uint8Array | Uint8ClampedArray | Float32Array = picture.rgb;
  if (width !== picture.width) {
    const from = { lines: picture.height, line: 3 * picture.width, step: 3 };
    const target = make(3 * picture.height * width);
    values = pass(values, from, target, { ...from, line: 3 * width }, tapsOf(picture.width, width));
  }
  if (height !== picture.height) {
    const axis = { lines: width, line: 3, step: 3 * width };
    values = pass(values, axis, make(3 * height * width), axis, tapsOf(picture.height, height));
  }
  return values;
}

/**
 * The way that preprocessor_config.json of a CLIP folder asks for, of old transformers or new; without the file, CLIP's
 * usual. `imageSize` is what the network reads. Throws a ModelFileError for a file that asks for anything else.
 */
export async function readImageProcessor(folder: string, imageSize: number): Promise<ImageProcessor> {
  const names = await readable(folder, () => readdir(folder));
  const square = [imageSize, imageSize] as const;
  if (!names.includes('preprocessor_config.json')) return imageProcessor({ size: imageSize, crop: square });
  const path = join(folder, 'preprocessor_config.json');
  const config = await readJson(path);
  const problems: string[] = [];
  const expect = (key: string, fits: boolean, expected: string): void => {
    if (!fits) problems.push(`${key} is ${shown(config[key])}, expected ${expected}`);
  };
  for (const key of ['do_resize', 'do_rescale', 'do_normalize', 'do_center_crop'])
    expect(key, (config[key] ?? true) === true, 'true');
  expect('resample', (config.resample ?? 3) === 3, '3 (bicubic)');
  const size = sizeIn(config.size ?? imageSize);
  expect('size', size !== undefined, 'a whole number, {"shortest_edge": ...} or {"height": ..., "width": ...}');
  const cropped = sizeIn(config.crop_size ?? imageSize);
  const crop = typeof cropped === 'number' ? ([cropped, cropped] as const) : cropped;
  const isRead = crop?.every((side) => side === imageSize) ?? false;
  expect('crop_size', isRead, `${imageSize}, which the network reads`);
  const isLarge = size === undefined || [size].flat().every((side) => side >= imageSize);
  expect('size', isLarge, `at least the ${imageSize} of the part that is kept`);
  const numbers = (key: string): readonly number[] | undefined => {
    const value = config[key] ?? undefined;
    const fits = Array.isArray(value) && value.length === 3 && value.every((number) => typeof number === 'number');
    if (value !== undefined) expect(key, fits, 'three numbers');
    return value as readonly number[] | undefined; // as checked
  };
  const [mean = clipMean, std = clipStd] = [numbers('image_mean'), numbers('image_std')];
  const factor = config.rescale_factor ?? 1 / 255;
  expect('rescale_factor', typeof factor === 'number', 'a number');
  if (problems.length > 0) throw new ModelFileError(path, problems);
  return imageProcessor({ size: size!, crop: square, factor: factor as number, mean, std });
}

/** A size as files have it: one number of old, the shortest edge, or height and width. */
function sizeIn(value: unknown): number | readonly [number, number] | undefined {
  const isSide = (side: unknown): side is number => Number.isInteger(side) && (side as number) > 0;
  if (isSide(value)) return value;
  if (typeof value !== 'object' || value === null) return undefined;
  const { shortest_edge, height, width } = value as Record<string, unknown>;
  if (isSide(shortest_edge)) return shortest_edge;
  return isSide(height) && isSide(width) ? [height, width] : undefined;
}
