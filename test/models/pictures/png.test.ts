import { inflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { crop, decodePng, encodePng, enlarge, gridOf, type Picture, pictureOf } from '../../../models/pictures/png.js';
import { random } from '../../check.js';

/** The chunks of a PNG file, by a reader of its own. */
function chunksOf(png: Uint8Array): { type: string; data: Uint8Array }[] {
  const view = new DataView(png.buffer, png.byteOffset);
  const chunks = [];
  for (let at = 8; at < png.length; ) {
    const length = view.getUint32(at);
    chunks.push({
      type: new TextDecoder('latin1').decode(png.subarray(at + 4, at + 8)),
      data: png.subarray(at + 8, at + 8 + length),
    });
    at += 12 + length;
  }
  return chunks;
}

function decode(png: Uint8Array, { width, height }: Picture): number[] {
  const data = inflateSync(chunksOf(png).find(({ type }) => type === 'IDAT')!.data);
  const stride = 3 * width;
  const rgb = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    expect(data[y * (stride + 1)]).toBe(2);
    for (let i = 0; i < stride; i++)
      rgb[y * stride + i] = data[y * (stride + 1) + 1 + i]! + (y > 0 ? rgb[(y - 1) * stride + i]! : 0);
  }
  return [...rgb];
}

describe('PNG', () => {
  const picture = pictureOf(random([3, 5, 7], 1, { low: -0.2, high: 1.2 }).data, 7, 5);

  test('pixels survive, and text in any language', () => {
    const png = encodePng(picture, { prompt: 'a red circle, «größer»', seed: '42' });
    expect(decode(png, picture)).toEqual([...picture.rgb]);
    const texts = chunksOf(png)
      .filter(({ type }) => type === 'iTXt')
      .map(({ data }) => new TextDecoder().decode(data));
    expect(texts).toEqual(['prompt\0\0\0\0\0a red circle, «größer»', 'seed\0\0\0\0\0' + '42']);
    expect(chunksOf(png).map(({ type }) => type)).toEqual(['IHDR', 'iTXt', 'iTXt', 'IDAT', 'IEND']);
  });

  test('a file that was written is read back, with its texts', () => {
    const text = { prompt: 'a red circle, «größer»\na blue one', seed: '42' };
    expect(decodePng(encodePng(picture, text))).toEqual({ picture, text });
    const png = encodePng(picture);
    expect(() => decodePng(png.subarray(0, 60))).toThrow();
    png[25] = 6; // with alpha
    expect(() => decodePng(png)).toThrow('png: expected 8-bit RGB');
  });

  test('an enlarged picture has squares for pixels, and is found again in a larger one', () => {
    const large = enlarge({ width: 2, height: 2, rgb: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12) }, 2);
    const [a, b, c, d] = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]] as const; // biome-ignore format: pixels
    expect(large).toEqual({
      width: 4,
      height: 4,
      rgb: Uint8Array.from([a, a, b, b, a, a, b, b, c, c, d, d, c, c, d, d].flat()),
    });
    expect(crop(enlarge(picture, 3), { left: 0, top: 0, width: 7, height: 5, step: 3 })).toEqual(picture);
    expect(enlarge(picture, 1)).toEqual(picture);
    expect(() => enlarge(picture, 1.5)).toThrow('enlarge: expected a whole factor, found 1.5');
    expect([...crop(large, { left: 1, top: 1, width: 2, height: 1 }).rgb]).toEqual([...a, ...b]);
  });

  test('values are clamped and rounded, and NaN is refused', () => {
    expect([...pictureOf([-1, 0.5, 2], 1, 1).rgb]).toEqual([0, 128, 255]);
    expect(() => pictureOf([0, Number.NaN, 0], 1, 1)).toThrow('picture: value 0 of channel 1 is NaN');
    expect(() => pictureOf([0, 0], 1, 1)).toThrow('picture: expected 3 x 1 x 1 values, found 2');
  });

  test('a grid has each picture in its place', () => {
    const gray = (level: number): Picture => ({ width: 2, height: 1, rgb: new Uint8Array(6).fill(level) });
    const grid = gridOf([gray(1), gray(2), gray(3)], 2, 1);
    expect([grid.width, grid.height]).toEqual([5, 3]);
    const row = (y: number): number[] => Array.from({ length: 5 }, (_, x) => grid.rgb[3 * (y * 5 + x)]!);
    expect([row(0), row(1), row(2)]).toEqual([
      [1, 1, 128, 2, 2],
      [128, 128, 128, 128, 128],
      [3, 3, 128, 128, 128],
    ]);
    expect(() => gridOf([gray(1), { ...gray(1), width: 1 }], 2)).toThrow('grid: the pictures differ in size');
  });
});
