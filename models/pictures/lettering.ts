/** Words in pictures: a small font, lines cut to a width, and their drawing. */
import type { Picture } from './png.js';

/**
 * The font: 16 characters a band, from the space to the tilde in ASCII's order, then a box for all others. A character takes
 * 5 x 9 pixels, of which the last two lie below the base line; its width is that of what is drawn.
 */
const sheet = `
..... #.... #.#.. .#.#. ..#.. ##..# .##.. #.... ..#.. #.... ..... ..... ..... ..... ..... ....#
..... #.... #.#.. .#.#. .#### ##..# #..#. #.... .#... .#... ..#.. ..#.. ..... ..... ..... ....#
..... #.... #.#.. ##### #.#.. ...#. #.#.. #.... #.... ..#.. #.#.# ..#.. ..... ..... ..... ...#.
..... #.... ..... .#.#. .###. ..#.. .#... ..... #.... ..#.. .###. ##### ..... ####. ..... ..#..
..... #.... ..... ##### ..#.# .#... #.#.# ..... #.... ..#.. #.#.# ..#.. ..... ..... ..... .#...
..... ..... ..... .#.#. ####. #..## #..#. ..... .#... .#... ..#.. ..#.. .#... ..... ..... #....
..... #.... ..... .#.#. ..#.. #..## .##.# ..... ..#.. #.... ..... ..... .#... ..... #.... #....
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... #.... ..... ..... .....
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....

.###. .#... .###. .###. ...#. ##### ..##. ##### .###. .###. ..... ..... ...#. ..... #.... .###.
#...# ##... #...# #...# ..##. #.... .#... ....# #...# #...# ..... ..... ..#.. ..... .#... #...#
#..## .#... ....# ....# .#.#. ####. #.... ...#. #...# #...# ..... ..... .#... ####. ..#.. ....#
#.#.# .#... ..##. ..##. #..#. ....# ####. ..#.. .###. .#### #.... .#... #.... ..... ...#. ..##.
##..# .#... .#... ....# ##### ....# #...# ..#.. #...# ....# ..... ..... .#... ####. ..#.. ..#..
#...# .#... #.... #...# ...#. #...# #...# .#... #...# ...#. ..... .#... ..#.. ..... .#... .....
.###. ###.. ##### .###. ...#. .###. .###. .#... .###. .##.. #.... .#... ...#. ..... #.... ..#..
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... #.... ..... ..... ..... .....
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....

.###. .###. ####. .###. ####. ##### ##### .###. #...# ###.. ..### #...# #.... #...# #...# .###.
#...# #...# #...# #...# #...# #.... #.... #...# #...# .#... ...#. #..#. #.... ##.## ##..# #...#
#.### #...# #...# #.... #...# #.... #.... #.... #...# .#... ...#. #.#.. #.... #.#.# ##..# #...#
#.#.# ##### ####. #.... #...# ####. ####. #.### ##### .#... ...#. ##... #.... #.#.# #.#.# #...#
#.### #...# #...# #.... #...# #.... #.... #...# #...# .#... ...#. #.#.. #.... #...# #..## #...#
#.... #...# #...# #...# #...# #.... #.... #...# #...# .#... #..#. #..#. #.... #...# #..## #...#
.###. #...# ####. .###. ####. ##### #.... .#### #...# ###.. .##.. #...# ##### #...# #...# .###.
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....

####. .###. ####. .#### ##### #...# #...# #...# #...# #...# ##### ###.. #.... ###.. ..#.. .....
#...# #...# #...# #.... ..#.. #...# #...# #...# #...# #...# ....# #.... #.... ..#.. .#.#. .....
#...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#. #.... .#... ..#.. #...# .....
####. #...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#.. #.... ..#.. ..#.. ..... .....
#.... #.#.# #.#.. ....# ..#.. #...# #...# #.#.# .#.#. ..#.. .#... #.... ...#. ..#.. ..... .....
#.... #..#. #..#. ....# ..#.. #...# .#.#. ##.## #...# ..#.. #.... #.... ....# ..#.. ..... .....
#.... .##.# #...# ####. ..#.. .###. ..#.. #...# #...# ..#.. ##### ###.. ....# ###.. ..... .....
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... #####
..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... .....

#.... ..... #.... ..... ....# ..... ..##. ..... #.... #.... ..#.. #.... #.... ..... ..... .....
.#... ..... #.... ..... ....# ..... .#... ..... #.... ..... ..... #.... #.... ..... ..... .....
..... .###. ####. .###. .#### .###. ####. .#### #.##. #.... ..#.. #..#. #.... ##.#. #.##. .###.
..... ....# #...# #...# #...# #...# .#... #...# ##..# #.... ..#.. #.#.. #.... #.#.# ##..# #...#
..... .#### #...# #.... #...# ##### .#... #...# #...# #.... ..#.. ##... #.... #.#.# #...# #...#
..... #...# #...# #...# #...# #.... .#... #...# #...# #.... ..#.. #.#.. #.... #.#.# #...# #...#
..... .#### ####. .###. .#### .###. .#... .#### #...# #.... ..#.. #..#. .#... #.#.# #...# .###.
..... ..... ..... ..... ..... ..... ..... ....# ..... ..... #.#.. ..... ..... ..... ..... .....
..... ..... ..... ..... ..... ..... ..... .###. ..... ..... .#... ..... ..... ..... ..... .....

..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..... ..#.. #.... #.... ..... #####
..... ..... ..... ..... .#... ..... ..... ..... ..... ..... ..... .#... #.... .#... ..... #...#
####. .#### #.##. .#### ####. #...# #...# #...# #...# #...# ##### .#... #.... .#... .#... #...#
#...# #...# ##... #.... .#... #...# #...# #...# .#.#. #...# ...#. #.... #.... ..#.. #.#.# #...#
#...# #...# #.... .###. .#... #...# #...# #.#.# ..#.. #...# ..#.. .#... #.... .#... ...#. #...#
#...# #...# #.... ....# .#... #..## .#.#. #.#.# .#.#. #...# .#... .#... #.... .#... ..... #...#
####. .#### #.... ####. ..##. .##.# ..#.. .#.#. #...# .#### ##### ..#.. #.... #.... ..... #####
#.... ....# ..... ..... ..... ..... ..... ..... ..... ....# ..... ..... #.... ..... ..... .....
#.... ....# ..... ..... ..... ..... ..... ..... ..... .###. ..... ..... #.... ..... ..... .....
`;

const cell = { width: 5, height: 9 } as const;
const [space, box] = [32, 127];

/** Rows of a character, `true` where it is drawn. */
const glyphs = readSheet(sheet);

function readSheet(text: string): readonly (readonly (readonly boolean[])[])[] {
  const bands = text.trim().split('\n\n');
  return bands.flatMap((band) => {
    const rows = band.split('\n').map((row) => row.split(' '));
    return rows[0]!.map((_, i) => rows.map((row) => Array.from(row[i]!, (dot) => dot === '#')));
  });
}

const widthOf = (glyph: readonly (readonly boolean[])[]): number =>
  Math.max(...glyph.map((row) => row.lastIndexOf(true) + 1)) || 3; // the space has no dots

/** The characters of a text that the font has: letters lose their accents, quotes and dashes their shape. */
function charactersOf(text: string): number[] {
  const plain = text
    .normalize('NFKD')
    .replace(/\p{Mark}/gu, '')
    .replace(/[\u2018\u2019]/g, "'")
    .replace(/[\u201c\u201d\u00ab\u00bb]/g, '"')
    .replace(/[\u2010-\u2015]/g, '-')
    .replace(/\s/g, ' ');
  return Array.from(plain, (character) => character.codePointAt(0)!).map((code) =>
    code >= space && code < box ? code : box,
  );
}

/** Pixels from a line to the next. */
export const lineHeight = (scale: number): number => (cell.height + 2) * scale;

/** Width of a line in pixels, `scale` of them a dot. */
export function textWidth(text: string, scale: number): number {
  const widths = charactersOf(text).map((code) => widthOf(glyphs[code - space]!) + 1);
  return scale * Math.max(0, widths.reduce((sum, width) => sum + width, 0) - 1);
}

/** Draws a line into a picture, its top left corner at `left` and `top`. What lies outside of the picture is left out. */
export function drawText(
  { width, height, rgb }: Picture,
  text: string,
  { left, top, scale, level = 0 }: { left: number; top: number; scale: number; level?: number },
): void {
  let x = left;
  for (const code of charactersOf(text)) {
    const glyph = glyphs[code - space]!;
    glyph.forEach((row, dy) => {
      row.forEach((drawn, dx) => {
        if (!drawn) return;
        const [from, to] = [Math.max(0, x + dx * scale), Math.min(width, x + (dx + 1) * scale)];
        for (let y = Math.max(0, top + dy * scale); y < Math.min(height, top + (dy + 1) * scale); y++)
          if (from < to) rgb.fill(level, 3 * (y * width + from), 3 * (y * width + to));
      });
    });
    x += (widthOf(glyph) + 1) * scale;
  }
}

const ellipsis = '...';

/** The longest beginning of a text that fits into `width` pixels together with `ending`; at least one character. */
function cutToWidth(text: string, width: number, scale: number, ending = ''): string {
  const characters = Array.from(text);
  let count = characters.length;
  while (count > 1 && textWidth(characters.slice(0, count).join('').trimEnd() + ending, scale) > width) count--;
  return characters.slice(0, count).join('').trimEnd() + ending;
}

/**
 * Breaks a text into lines of at most `width` pixels, between words where that is possible. Where it needs more than `most`,
 * the last one ends in `...`.
 */
export function wrapText(text: string, width: number, scale: number, most: number): string[] {
  const lines: string[] = [];
  let rest = text.trim().replace(/\s+/g, ' ');
  while (rest !== '') {
    if (textWidth(rest, scale) <= width) return [...lines, rest];
    if (lines.length === most - 1) return [...lines, cutToWidth(rest, width, scale, ellipsis)];
    const fitting = cutToWidth(rest, width, scale);
    const between = rest[fitting.length] === ' ' ? fitting.length : fitting.lastIndexOf(' ');
    const line = between > 0 ? fitting.slice(0, between) : fitting;
    lines.push(line);
    rest = rest.slice(line.length).trimStart();
  }
  return lines;
}
