import { describe, expect, test } from 'vitest';
import { captionedGrid, layOutGrid, picturesOfGrid, rowsOf, squareGrid } from '../../../models/pictures/grid.js';
import { crop, type Picture } from '../../../models/pictures/png.js';
import { random } from '../../check.js';

const noise = (size: number, seed: number): Picture => ({
  width: size,
  height: size,
  rgb: Uint8Array.from(random([3 * size * size], seed, { low: 0, high: 255 }).data),
});

describe('a grid', () => {
  const pictures = Array.from({ length: 8 }, (_, i) => noise(32, i + 1));
  const rows = rowsOf(['a red circle', 'a blue cross'], pictures);
  const options = { columns: 4, headings: ['before', 'after 24 updates'] };
  const counts = rows.map(({ caption, pictures: { length } }) => ({ caption, count: length }));

  test('has small pictures enlarged in two parts, each row under its caption', () => {
    const { width, height, factor, pictures: places, texts } = layOutGrid(counts, { width: 32, height: 32 }, options);
    expect(factor).toBe(4);
    expect(width).toBe(16 + 4 * 128 + 2 * 4 + 16 + 16);
    expect(places[0]!.map(({ left }) => left)).toEqual([16, 148, 292, 424]);
    const [first, second] = places.map(([place]) => place!.top) as [number, number];
    expect(second - first).toBe(128 + 16 + 22);
    expect(height).toBe(second + 128 + 16);
    expect(texts).toEqual([
      { text: 'before', left: 16, top: 16, scale: 2 },
      { text: 'after 24 updates', left: 292, top: 16, scale: 2 },
      { text: 'a red circle', left: 16, top: first - 22, scale: 2 },
      { text: 'a blue cross', left: 16, top: second - 22, scale: 2 },
    ]);
  });

  test('has larger headings where they fit, and two lines of them where they do not', () => {
    const size = { width: 32, height: 32 };
    const narrow = layOutGrid(counts, size, { columns: 2, headings: ['before', 'after 24 updates'] });
    expect(narrow.texts.slice(0, 3)).toEqual([
      { text: 'before', left: 16, top: 16 + 22, scale: 2 },
      { text: 'after 24', left: 160, top: 16, scale: 2 },
      { text: 'updates', left: 160, top: 16 + 22, scale: 2 },
    ]);
    const { texts } = layOutGrid(counts, size, { columns: 4, headings: ['after 24 updates'] });
    expect(texts[0]).toEqual({ text: 'after 24 updates', left: 16, top: 16, scale: 3 });
    expect(texts[1]!.top).toBe(16 + 33 + 4);
  });

  test('gives its pictures back, and not where it is one of other rows', () => {
    const grid = captionedGrid(rows, options);
    expect(picturesOfGrid(grid, counts, { width: 32, height: 32 }, options)).toEqual([
      pictures.slice(0, 4),
      pictures.slice(4),
    ]);
    expect(picturesOfGrid(grid, counts.slice(1), { width: 32, height: 32 }, options)).toBeUndefined();
  });

  test('has a label below each picture, and gives the pictures back all the same', () => {
    const labels = [
      ['1: 0.5', '2: 0.25', '', '4: a label that is much too long'],
      ['a', 'b', 'c', 'd'],
    ];
    const labelled = rows.map((row, i) => ({ ...row, labels: labels[i]! }));
    const extents = counts.map((row, i) => ({ ...row, labels: labels[i]! }));
    const size = { width: 32, height: 32 };
    const { pictures: places, texts } = layOutGrid(extents, size, options);
    expect(places[1]![0]!.top - places[0]![0]!.top).toBe(128 + 4 + 22 + 16 + 22);
    const { left, top } = places[0]![1]!;
    expect(texts).toContainEqual({ text: '2: 0.25', left, top: top + 128 + 4, scale: 2 });
    expect(texts.find(({ text }) => text.startsWith('4: '))!.text).toMatch(/\.\.\.$/);
    expect(picturesOfGrid(captionedGrid(labelled, options), extents, size, options)).toEqual([
      pictures.slice(0, 4),
      pictures.slice(4),
    ]);
  });

  test('is white with dark letters around the pictures', () => {
    const grid = captionedGrid(rows, options);
    const levels = new Set(crop(grid, { left: 0, top: 0, width: grid.width, height: 64 }).rgb);
    expect([...levels].sort()).toEqual([255, 32]);
    expect(crop(grid, { left: 276, top: 90, width: 16, height: 128 }).rgb.every((level) => level === 255)).toBe(true);
  });

  test('leaves large pictures as they are, under larger letters', () => {
    const { factor, texts } = layOutGrid(counts, { width: 512, height: 512 }, { columns: 4 });
    expect([factor, texts[0]!.scale]).toEqual([1, 4]);
    const sizes = [65, 64, 48, 33, 32, 16];
    expect(sizes.map((size) => layOutGrid(counts, { width: size, height: size }, { columns: 4 }).factor)).toEqual([
      1, 2, 2, 3, 4, 8,
    ]);
  });

  test('goes on below where a row is longer than its columns, and cuts captions that are too long', () => {
    const long = 'a photograph of a very red circle above a cross '.repeat(4);
    const layout = layOutGrid([{ caption: long, count: 3 }], { width: 32, height: 32 }, { columns: 2 });
    expect(layout.texts.length).toBe(3);
    expect(layout.texts.at(-1)!.text).toMatch(/\.\.\.$/);
    const [first, second, third] = layout.pictures[0]!;
    expect([second!.left - first!.left, third!.top - first!.top, third!.left]).toEqual([132, 132, first!.left]);
  });

  test('is about square: rows of few pictures stand side by side', () => {
    expect(squareGrid(1, 16)).toEqual({ columns: 4, across: 1 });
    expect(squareGrid(9, 1)).toEqual({ columns: 1, across: 3 });
    expect(squareGrid(8, 4)).toEqual({ columns: 4, across: 1 });
    expect(squareGrid(18, 2)).toEqual({ columns: 2, across: 3 });
    const captions = ['a', 'a red circle above a blue cross', 'b'].map((caption) => ({ caption, count: 1 }));
    const { width, pictures: places, texts } = layOutGrid(captions, { width: 32, height: 32 }, squareGrid(3, 1));
    expect(width).toBe(16 + 2 * (128 + 16));
    expect(places.map(([place]) => place!.left)).toEqual([16, 160, 16]);
    expect(places[0]![0]!.top).toBe(places[1]![0]!.top);
    expect(texts.find(({ text }) => text === 'a')!.top).toBe(places[0]![0]!.top - 22); // above its picture
  });

  test('is refused with pictures of two sizes, none, or columns that can not be parted', () => {
    expect(() => captionedGrid(rowsOf(['a'], [noise(32, 1), noise(16, 2)]), { columns: 2 })).toThrow('differ in size');
    expect(() => captionedGrid([], { columns: 2 })).toThrow('at least one picture');
    expect(() => captionedGrid(rows, { columns: 3, headings: ['a', 'b'] })).toThrow('3 columns do not fall into 2');
  });
});
