import { describe, expect, test } from 'vitest';
import { drawText, lineHeight, textWidth, wrapText } from '../../../models/pictures/lettering.js';

/** A text as it is drawn, a character a pixel. */
function drawn(text: string, { width = textWidth(text, 1), scale = 1, left = 0, top = 0 } = {}): string[] {
  const height = 9 * scale;
  const picture = { width, height, rgb: new Uint8Array(3 * width * height).fill(255) };
  drawText(picture, text, { left, top, scale, level: 0 });
  const pixels = Array.from({ length: width * height }, (_, i) => picture.rgb.subarray(3 * i, 3 * i + 3));
  expect(pixels.every(([r, g, b]) => r === g && g === b)).toBe(true);
  const dots = pixels.map(([level]) => (level === 0 ? '#' : '.')).join('');
  return Array.from({ length: height }, (_, y) => dots.slice(y * width, (y + 1) * width));
}

describe('letters', () => {
  test('stand on a line, with what goes below it, each as wide as it is drawn', () => {
    expect(drawn('Aging 1, ok?')).toEqual([
      '.###........#..................#...............#.....###.',
      '#...#.........................##...............#....#...#',
      '#...#..####.#.#.##...####......#..........###..#..#.....#',
      '#####.#...#.#.##..#.#...#......#.........#...#.#.#....##.',
      '#...#.#...#.#.#...#.#...#......#.........#...#.##.....#..',
      '#...#.#...#.#.#...#.#...#......#...#.....#...#.#.#.......',
      '#...#..####.#.#...#..####.....###..#......###..#..#...#..',
      '..........#.............#.........#......................',
      '.......###...........###.................................',
    ]);
  });

  test('grow by whole factors and are cut off at the edges', () => {
    const once = drawn('ab');
    const twice = once.flatMap((row) => Array(2).fill([...row].map((dot) => dot + dot).join('')));
    expect(drawn('ab', { scale: 2, width: 2 * textWidth('ab', 1) })).toEqual(twice);
    expect(textWidth('ab', 3)).toBe(3 * textWidth('ab', 1));
    expect(drawn('ab', { left: -2, top: -1, width: 6 })).toEqual([
      ...once.slice(1).map((row) => row.slice(2, 8)),
      '......',
    ]);
  });

  test('differ from each other, and are all there', () => {
    const all = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i));
    expect(new Set(all.map((character) => drawn(character).join('\n'))).size).toBe(95);
  });

  test('of other scripts lose their accents or are a box', () => {
    expect(drawn('é “x” – y')).toEqual(drawn('e "x" - y'));
    expect(drawn('日')).toEqual(drawn('ж'));
    expect(drawn('日').slice(0, 2)).toEqual(['#####', '#...#']);
  });
});

describe('lines', () => {
  const width = textWidth('a red circle', 1);

  test('break between words', () => {
    expect(wrapText('a red circle', width, 1, 3)).toEqual(['a red circle']);
    expect(wrapText(' a red  circle\nabove a blue cross', width, 1, 3)).toEqual([
      'a red circle',
      'above a',
      'blue cross',
    ]);
    expect(wrapText('', width, 1, 3)).toEqual([]);
  });

  test('end in an ellipsis where there are too many, and never exceed the width', () => {
    const text = 'a red circle above a blue cross and a very, very green triangle';
    const lines = wrapText(text, width, 1, 2);
    expect(lines).toEqual(['a red circle', 'above a bl...']);
    for (const line of [...lines, ...wrapText(text, 2 * width, 2, 9)])
      expect(textWidth(line, 1)).toBeLessThanOrEqual(width);
    expect(lineHeight(2)).toBe(22);
  });

  test('break inside of a word that is too long', () => {
    const lines = wrapText('abcdefghijklmnopqrstuvwxyz', width, 1, 3);
    expect(lines.length).toBe(3);
    expect(lines.join('')).toBe('abcdefghijklmnopqrstuvwxyz');
    expect(wrapText('ab', 1, 1, 5)).toEqual(['a', 'b']);
  });
});
