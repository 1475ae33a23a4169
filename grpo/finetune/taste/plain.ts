/** Plain numbers of a picture: how vivid, how light and how busy it is, and where. In double precision, of any size alike. */
import type { Picture } from '../../../models/pictures/png.js';

/** Every picture is looked at as the means of so many cells each way. */
const cells = 32;
/** Deviations are between the means of so many fields each way, so that they are of the picture's parts and not of its grain. */
const fields = 8;

const kinds = ['saturation', 'lightness', 'edges'] as const;
const measures = ['mean', 'deviation', 'top left', 'top right', 'bottom left', 'bottom right'] as const;

/** What a plain number is of: the kind and its mean, its deviation between fields, or the mean of a quarter. */
export interface PlainName {
  readonly kind: (typeof kinds)[number];
  readonly measure: (typeof measures)[number];
}

/** Of the plain numbers in their order, 18. */
export const plainNames: readonly PlainName[] = kinds.flatMap((kind) => measures.map((measure) => ({ kind, measure })));

/**
 * The means over `cells` by `cells` equal parts of a picture, [3, cells, cells] from 0 to 255, where pixels on a border count by
 * their share on either side. Sums are of whole numbers, so that a picture and its enlargement have the same bits.
 */
function cellMeans({ width, height, rgb }: Picture): Float64Array[] {
  const [across, down] = [sharesOf(width), sharesOf(height)];
  return [0, 1, 2].map((c) => {
    const means = new Float64Array(cells * cells);
    for (const [y, rows] of down.entries()) {
      for (const [x, columns] of across.entries()) {
        let sum = 0;
        for (const [row, high] of rows)
          for (const [column, wide] of columns) sum += high * wide * rgb[3 * (row * width + column) + c]!;
        means[y * cells + x] = sum / (width * height); // the shares of a cell add up to `width` and `height`
      }
    }
    return means;
  });
}

/** For each cell along a side of `size` pixels: the pixels in it, and how much of each, in parts of which a pixel has `cells`. */
function sharesOf(size: number): (readonly [pixel: number, share: number])[][] {
  return Array.from({ length: cells }, (_, cell) => {
    const [start, end] = [cell * size, (cell + 1) * size];
    const first = Math.floor(start / cells);
    return Array.from({ length: Math.ceil(end / cells) - first }, (_, i) => {
      const pixel = first + i;
      return [pixel, Math.min(end, (pixel + 1) * cells) - Math.max(start, pixel * cells)] as const;
    });
  });
}

/** A square map and its side. */
interface Field {
  readonly values: Float64Array;
  readonly side: number;
}

/** Saturation (largest channel less smallest), lightness (mean of channels), and edges (change to the cell diagonally above). */
function mapsOf(picture: Picture): Field[] {
  const [red, green, blue] = cellMeans(picture).map((channel) => channel.map((value) => value / 255));
  const each = (value: (r: number, g: number, b: number) => number): Float64Array =>
    red!.map((r, i) => value(r, green![i]!, blue![i]!));
  const side = cells - 1;
  const edges = new Float64Array(side * side);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const [here, below] = [y * cells + x, (y + 1) * cells + x + 1];
      let sum = 0;
      for (const channel of [red!, green!, blue!]) sum += Math.abs(channel[below]! - channel[here]!);
      edges[y * side + x] = sum / 3;
    }
  }
  return [
    { values: each((r, g, b) => Math.max(r, g, b) - Math.min(r, g, b)), side: cells },
    { values: each((r, g, b) => (r + g + b) / 3), side: cells },
    { values: edges, side },
  ];
}

/** The mean of a map's part: `count` parts each way, of which this is column x of row y. Parts may share a line at borders. */
function partMean({ values, side }: Field, count: number, x: number, y: number): number {
  const range = (i: number) => [Math.floor((i * side) / count), Math.ceil(((i + 1) * side) / count)] as const;
  const [[left, right], [top, bottom]] = [range(x), range(y)];
  let sum = 0;
  for (let row = top; row < bottom; row++)
    for (let column = left; column < right; column++) sum += values[row * side + column]!;
  return sum / ((right - left) * (bottom - top));
}

/** The numbers of a picture, in the order of plainNames; each is from 0 to 1. */
export function plainNumbers(picture: Picture): Float64Array {
  const numbers = mapsOf(picture).flatMap((map) => {
    const parts = Array.from({ length: fields ** 2 }, (_, i) =>
      partMean(map, fields, i % fields, Math.floor(i / fields)),
    );
    const mean = parts.reduce((sum, part) => sum + part, 0) / parts.length;
    const square = parts.reduce((sum, part) => sum + (part - mean) ** 2, 0);
    const quarters = [0, 1, 2, 3].map((i) => partMean(map, 2, i % 2, Math.floor(i / 2)));
    return [mean, Math.sqrt(square / (parts.length - 1)), ...quarters];
  });
  return Float64Array.from(numbers);
}
