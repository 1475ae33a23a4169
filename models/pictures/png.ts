/** PNG files: 8-bit RGB, with text chunks for prompts and seeds; and pictures side by side. */
import { crc32, deflateSync, inflateSync } from 'node:zlib';
import { check } from '../../engine/errors.js';

/** A picture of 8-bit RGB, row by row. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** width * height * 3 bytes. */
  readonly rgb: Uint8Array;
}

/** The values of a picture, [3, height, width] in [0, 1]. */
export function valuesOf({ rgb, width, height }: Picture): Float32Array {
  const plane = width * height;
  return Float32Array.from({ length: 3 * plane }, (_, i) => rgb[3 * (i % plane) + Math.floor(i / plane)]! / 255);
}

/** A picture from values [3, height, width] in [0, 1], rounded to the nearest of 256 levels; what lies outside is clamped. */
export function pictureOf(values: ArrayLike<number>, width: number, height: number): Picture {
  const plane = width * height;
  check(values.length === 3 * plane, `picture: expected 3 x ${height} x ${width} values, found ${values.length}`);
  const rgb = new Uint8Array(3 * plane);
  for (let c = 0; c < 3; c++) {
    for (let i = 0; i < plane; i++) {
      const value = values[c * plane + i]!;
      check(Number.isFinite(value), `picture: value ${i} of channel ${c} is ${value}`);
      rgb[3 * i + c] = Math.round(255 * Math.min(1, Math.max(0, value)));
    }
  }
  return { width, height, rgb };
}

/** Every pixel as a square of `factor` x `factor`. */
export function enlarge({ width, height, rgb }: Picture, factor: number): Picture {
  check(Number.isInteger(factor) && factor > 0, `enlarge: expected a whole factor, found ${factor}`);
  if (factor === 1) return { width, height, rgb };
  const stride = 3 * factor * width;
  const large = new Uint8Array(stride * factor * height);
  for (let y = 0; y < height; y++) {
    const row = large.subarray(factor * y * stride, (factor * y + 1) * stride);
    for (let i = 0; i < stride; i += 3) {
      const from = 3 * (y * width + Math.floor(i / (3 * factor)));
      for (let c = 0; c < 3; c++) row[i + c] = rgb[from + c]!;
    }
    for (let copy = 1; copy < factor; copy++) large.set(row, (factor * y + copy) * stride);
  }
  return { width: factor * width, height: factor * height, rgb: large };
}

/** A picture whose longer side has `most` pixels at most: means of squares of pixels, as whole a factor smaller as is needed. */
export function thumbnail(picture: Picture, most: number): Picture {
  const factor = Math.ceil(Math.max(picture.width, picture.height) / most);
  if (factor <= 1) return picture;
  const [width, height] = [picture.width, picture.height].map((side) => Math.max(1, Math.floor(side / factor)));
  const rgb = new Uint8Array(3 * width! * height!);
  for (let i = 0; i < rgb.length; i++) {
    const [x, y] = [Math.floor(i / 3) % width!, Math.floor(i / 3 / width!)];
    let [sum, count] = [0, 0];
    for (let row = factor * y; row < Math.min(picture.height, factor * (y + 1)); row++) {
      for (let column = factor * x; column < Math.min(picture.width, factor * (x + 1)); column++, count++)
        sum += picture.rgb[3 * (row * picture.width + column) + (i % 3)]!;
    }
    rgb[i] = Math.round(sum / count);
  }
  return { width: width!, height: height!, rgb };
}

/** A part of a picture, every `step`th pixel of each `step`th row: what enlarge() made large is as it was. */
export function crop(
  { width: across, rgb }: Picture,
  { left, top, width, height, step = 1 }: { left: number; top: number; width: number; height: number; step?: number },
): Picture {
  const part = new Uint8Array(3 * width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = 3 * ((top + step * y) * across + left + step * x);
      part.set(rgb.subarray(from, from + 3), 3 * (y * width + x));
    }
  }
  return { width, height, rgb: part };
}

/** Pictures of one size side by side, `columns` in a row, with `gap` pixels of mid grey between them. */
export function gridOf(pictures: readonly Picture[], columns: number, gap = 2): Picture {
  const first = pictures[0];
  check(first !== undefined && columns > 0, 'grid: expected at least one picture and one column');
  const { width, height } = first;
  check(
    pictures.every((picture) => picture.width === width && picture.height === height),
    'grid: the pictures differ in size',
  );
  const across = Math.min(columns, pictures.length);
  const down = Math.ceil(pictures.length / across);
  const grid = { width: across * (width + gap) - gap, height: down * (height + gap) - gap };
  const rgb = new Uint8Array(3 * grid.width * grid.height).fill(128);
  pictures.forEach((picture, index) => {
    const left = (index % across) * (width + gap);
    const top = Math.floor(index / across) * (height + gap);
    paste({ ...grid, rgb }, picture, { left, top });
  });
  return { ...grid, rgb };
}

/** Writes a picture into a larger one. */
export function paste(
  target: Picture,
  { width, height, rgb }: Picture,
  { left, top }: { readonly left: number; readonly top: number },
): void {
  for (let y = 0; y < height; y++)
    target.rgb.set(rgb.subarray(3 * y * width, 3 * (y + 1) * width), 3 * ((top + y) * target.width + left));
}

const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/**
 * The bytes of a PNG file. `text` goes into iTXt chunks, in UTF-8: keywords of 1 to 79 Latin letters. `level`
 * is zlib's, 1 (fast) to 9 (small).
 */
export function encodePng(
  { width, height, rgb }: Picture,
  text: Readonly<Record<string, string>> = {},
  { level = 6 }: { readonly level?: number } = {},
): Uint8Array {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 2], 8); // 8 bits, RGB
  // Each row begins with its filter: 2 stores the difference from the row above, which flat pictures like.
  const stride = 3 * width;
  const filtered = new Uint8Array(height * (stride + 1));
  for (let y = 0; y < height; y++) {
    const [to, from, above] = [y * (stride + 1), y * stride, (y - 1) * stride];
    filtered[to] = 2;
    if (y === 0) filtered.set(rgb.subarray(0, stride), 1);
    else for (let i = 0; i < stride; i++) filtered[to + 1 + i] = rgb[from + i]! - rgb[above + i]!;
  }
  const texts = Object.entries(text).map(([keyword, value]) => {
    check(/^[\x20-\x7e]{1,79}$/.test(keyword), `png: the keyword "${keyword}" is not 1 to 79 Latin letters`);
    return chunk('iTXt', new TextEncoder().encode(`${keyword}\0\0\0\0\0${value}`));
  });
  const chunks = [
    chunk('IHDR', header),
    ...texts,
    chunk('IDAT', deflateSync(filtered, { level })),
    chunk('IEND', new Uint8Array()),
  ];
  return new Uint8Array(Buffer.concat([signature, ...chunks]));
}

/** The picture and the texts of a file that encodePng() made. Throws for other files. */
export function decodePng(file: Uint8Array): { picture: Picture; text: Record<string, string> } {
  const chunks = chunksOf(file);
  const dataOf = (type: string): Uint8Array[] => chunks.filter((each) => each.type === type).map(({ data }) => data);
  const [header] = dataOf('IHDR');
  check(header?.length === 13 && header[8] === 8 && header[9] === 2, 'png: expected 8-bit RGB');
  const view = new DataView(header.buffer, header.byteOffset);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const filtered = inflateSync(Buffer.concat(dataOf('IDAT')));
  const stride = 3 * width;
  check(filtered.length === height * (stride + 1), `png: the pixels are not those of ${width} x ${height}`);
  const rgb = new Uint8Array(height * stride);
  for (let y = 0; y < height; y++) {
    const row = filtered.subarray(y * (stride + 1), (y + 1) * (stride + 1));
    check(row[0] === 2, `png: row ${y} has the filter ${row[0]}, expected 2`);
    for (let i = 0; i < stride; i++) rgb[y * stride + i] = row[i + 1]! + (y > 0 ? rgb[(y - 1) * stride + i]! : 0);
  }
  const texts = dataOf('iTXt').map((data) => new TextDecoder().decode(data).split('\0'));
  const text = Object.fromEntries(texts.map(([keyword = '', , , , , value = '']) => [keyword, value]));
  return { picture: { width, height, rgb }, text };
}

function chunksOf(file: Uint8Array): { type: string; data: Uint8Array }[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const chunks: { type: string; data: Uint8Array }[] = [];
  for (let at = signature.length; at + 12 <= file.length; ) {
    const end = at + 8 + view.getUint32(at);
    chunks.push({ type: new TextDecoder().decode(file.subarray(at + 4, at + 8)), data: file.subarray(at + 8, end) });
    at = end + 4;
  }
  return chunks;
}
