/** Grids that say what they show: pictures in rows under their captions, and headings over the columns. */
import { check } from '../../engine/errors.js';
import { drawText, lineHeight, textWidth, wrapText } from './lettering.js';
import { crop, enlarge, type Picture, paste } from './png.js';

/** A caption, and the pictures below it. */
export interface GridRow {
  readonly caption: string;
  readonly pictures: readonly Picture[];
  /** What stands below each picture, in one line that is cut to its width. Default nothing. */
  readonly labels?: readonly string[] | undefined;
}

/** What a row takes of room. */
export interface RowExtent extends Pick<GridRow, 'caption' | 'labels'> {
  /** Pictures. */
  readonly count: number;
}

/** Pictures in turn as rows under their captions, as many under each. */
export function rowsOf(captions: readonly string[], pictures: readonly Picture[]): GridRow[] {
  const each = pictures.length / captions.length;
  return captions.map((caption, row) => ({ caption, pictures: pictures.slice(row * each, (row + 1) * each) }));
}

export interface GridOptions {
  /** Pictures side by side; more of a row go on below. */
  readonly columns: number;
  /** The columns of the first row fall into so many equal parts, each under its heading. Default none. */
  readonly headings?: readonly string[];
  /** Rows side by side. Default 1. */
  readonly across?: number;
  /** Pixels that small pictures are enlarged to, as far as a whole factor goes. Default 128. */
  readonly shown?: number;
}

/** A grid about as wide as high, of `rows` captions with `count` pictures each. */
export function squareGrid(rows: number, count: number): GridOptions {
  const side = Math.ceil(Math.sqrt(rows * count));
  const columns = Math.min(count, side);
  return { columns, across: Math.floor(side / columns) };
}

type Size = Pick<Picture, 'width' | 'height'>;

interface Place {
  readonly left: number;
  readonly top: number;
}

/** Where everything is in a grid, in pixels. */
export interface GridLayout extends Size {
  /** What pictures are enlarged by. */
  readonly factor: number;
  /** Of each row. */
  readonly pictures: readonly (readonly Place[])[];
  readonly texts: readonly PlacedText[];
}

interface PlacedText extends Place {
  readonly text: string;
  /** Size of a letter's dot. */
  readonly scale: number;
}

const letterSize = 128; // pixels of a picture for each dot of its letters
const captionLines = 3;
const headingLines = 2;

/** The layout of rows with `count` pictures of one size. */
export function layOutGrid(
  rows: readonly RowExtent[],
  size: Size,
  { columns, headings = [], across = 1, shown = 128 }: GridOptions,
): GridLayout {
  const factor = Math.max(1, Math.floor(shown / Math.max(size.width, size.height)));
  const [width, height] = [factor * size.width, factor * size.height];
  const scale = Math.max(2, Math.floor(width / letterSize)); // letters grow with large pictures
  const [gap, space] = [2 * scale, 8 * scale]; // between pictures, and between all else
  const below = rows.some(({ labels }) => labels) ? gap + lineHeight(scale) : 0; // room for labels
  const part = columns / Math.max(1, headings.length);
  check(Number.isInteger(part), `grid: ${columns} columns do not fall into ${headings.length} equal parts`);
  const columnAt = (column: number): number => column * (width + gap) + Math.floor(column / part) * (space - gap);
  const rowWidth = columnAt(columns - 1) + width;
  const rowAt = (place: number): number => space + place * (rowWidth + space);
  const places = Math.min(across, rows.length);

  const texts: PlacedText[] = [];
  /** Places the lines of texts side by side, all ending at one height; returns that. */
  const placeTexts = (
    top: number,
    dot: number,
    blocks: readonly { left: number; lines: readonly string[] }[],
  ): number => {
    const bottom = top + lineHeight(dot) * Math.max(0, ...blocks.map(({ lines }) => lines.length));
    for (const { left, lines } of blocks) {
      for (const [i, text] of lines.entries())
        texts.push({ text, left, top: bottom - lineHeight(dot) * (lines.length - i), scale: dot });
    }
    return bottom;
  };

  const partWidth = columnAt(part - 1) + width;
  const fit = headings.every((heading) => textWidth(heading, scale + 1) <= partWidth);
  const headingScale = fit ? scale + 1 : scale;
  const over = headings.map((heading, i) => ({
    left: rowAt(0) + columnAt(i * part),
    lines: wrapText(heading, partWidth, headingScale, headingLines),
  }));
  let top = placeTexts(space, headingScale, over) + (headings.length > 0 ? gap : 0);

  const pictures: Place[][] = [];
  for (let start = 0; start < rows.length; start += places) {
    const band = rows.slice(start, start + places).map((row, place) => ({ ...row, left: rowAt(place) }));
    const captions = band.map(({ caption, left }) => ({
      left,
      lines: wrapText(caption, rowWidth, scale, captionLines),
    }));
    top = placeTexts(top, scale, captions);
    const placeOf = (left: number, i: number): Place => ({
      left: left + columnAt(i % columns),
      top: top + Math.floor(i / columns) * (height + below + gap),
    });
    for (const { left, count, labels = [] } of band) {
      const places = Array.from({ length: count }, (_, i) => placeOf(left, i));
      pictures.push(places);
      for (const [i, place] of places.entries()) {
        const [text] = wrapText(labels[i] ?? '', width, scale, 1);
        if (text) texts.push({ text, left: place.left, top: place.top + height + gap, scale });
      }
    }
    top += Math.max(...band.map(({ count }) => Math.ceil(count / columns))) * (height + below + gap) - gap + space;
  }
  return { width: rowAt(places), height: top, factor, pictures, texts };
}

const paper = 255;
const ink = 32;

/** Rows of pictures on white, each under its caption. Small pictures are enlarged, without smoothing. */
export function captionedGrid(rows: readonly GridRow[], options: GridOptions): Picture {
  const [first] = rows.flatMap(({ pictures }) => pictures);
  check(first !== undefined, 'grid: expected at least one picture');
  const counts = rows.map(({ caption, pictures, labels }) => ({ caption, labels, count: pictures.length }));
  const { width, height, factor, pictures, texts } = layOutGrid(counts, first, options);
  const grid = { width, height, rgb: new Uint8Array(3 * width * height).fill(paper) };
  for (const [r, row] of rows.entries()) {
    for (const [i, picture] of row.pictures.entries()) {
      check(picture.width === first.width && picture.height === first.height, 'grid: the pictures differ in size');
      paste(grid, enlarge(picture, factor), pictures[r]![i]!);
    }
  }
  for (const { text, ...place } of texts) drawText(grid, text, { ...place, level: ink });
  return grid;
}

/** The pictures of each row, out of a grid that captionedGrid() made; undefined where its size is not that of these rows. */
export function picturesOfGrid(
  grid: Picture,
  rows: readonly RowExtent[],
  { width, height }: Size,
  options: GridOptions,
): Picture[][] | undefined {
  const layout = layOutGrid(rows, { width, height }, options);
  if (layout.width !== grid.width || layout.height !== grid.height) return undefined;
  return layout.pictures.map((places) =>
    places.map((place) => crop(grid, { ...place, width, height, step: layout.factor })),
  );
}
