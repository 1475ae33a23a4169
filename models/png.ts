/** PNG files: 8-bit RGB, with text chunks for prompts and seeds; and grids of pictures. */
import { crc32, deflateSync } from 'node:zlib';
import { check } from '../engine/errors.js';

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
    for (let y = 0; y < height; y++) {
      rgb.set(picture.rgb.subarray(3 * y * width, 3 * (y + 1) * width), 3 * ((top + y) * grid.width + left));
    }
  });
  return { ...grid, rgb };
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

/** The bytes of a PNG file. `text` goes into iTXt chunks, in UTF-8: keywords of 1 to 79 Latin letters. */
export function encodePng({ width, height, rgb }: Picture, text: Readonly<Record<string, string>> = {}): Uint8Array {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 2], 8); // 8 bits, RGB
  // Each row begins with its filter: 2 stores the difference from the row above, which flat pictures like.
  const stride = 3 * width;
  const filtered = new Uint8Array(height * (stride + 1));
  for (let y = 0; y < height; y++) {
    filtered[y * (stride + 1)] = 2;
    for (let i = 0; i < stride; i++) {
      const above = y > 0 ? rgb[(y - 1) * stride + i]! : 0;
      filtered[y * (stride + 1) + 1 + i] = rgb[y * stride + i]! - above;
    }
  }
  const texts = Object.entries(text).map(([keyword, value]) => {
    check(/^[\x20-\x7e]{1,79}$/.test(keyword), `png: the keyword "${keyword}" is not 1 to 79 Latin letters`);
    return chunk('iTXt', new TextEncoder().encode(`${keyword}\0\0\0\0\0${value}`));
  });
  const chunks = [
    chunk('IHDR', header),
    ...texts,
    chunk('IDAT', deflateSync(filtered, { level: 9 })),
    chunk('IEND', new Uint8Array()),
  ];
  return Uint8Array.from([signature, ...chunks].flatMap((part) => [...part]));
}
