/** A picture of how a group was thinned: a row for each selection, the best first, who went on and who did not. */
import { captionedGrid, type GridOptions, type GridRow, layOutGrid } from './grid.js';
import type { Picture } from './png.js';

/** What was drawn at one moment. */
export interface FunnelRow {
  readonly caption: string;
  readonly pictures: readonly Picture[];
  /** What each was judged; not a number: it was lost. */
  readonly values: readonly number[];
  /** Whether each went on. */
  readonly kept: readonly boolean[];
}

const most = 24; // pictures in a line
const shown = 64; // pixels of a picture, as there are many
const frame = [0, 114, 178] as const; // Okabe and Ito's blue, which is told from grey by everybody
const dimmed = 0.35; // what is left of those who did not go on

/** Rows sorted by value, the highest first, lost ones last; the kept ones framed, the others paled, their values below. */
export function funnelGrid(rows: readonly FunnelRow[]): Picture {
  const sorted = rows.map(({ caption, pictures, values, kept }) => {
    const height = (i: number): number => (Number.isFinite(values[i]) ? values[i]! : Number.NEGATIVE_INFINITY);
    const order = [...pictures.keys()].sort((a, b) => height(b) - height(a) || a - b);
    const row: GridRow = {
      caption,
      pictures: order.map((i) => (kept[i] ? pictures[i]! : pale(pictures[i]!))),
      labels: order.map((i) => (Number.isFinite(values[i]) ? shortNumber(values[i]!) : 'lost')),
    };
    return { row, kept: order.map((i) => kept[i]!) };
  });
  const options: GridOptions = {
    columns: Math.min(most, Math.max(...rows.map(({ pictures }) => pictures.length))),
    shown,
  };
  const grid = captionedGrid(
    sorted.map(({ row }) => row),
    options,
  );
  const [first] = rows[0]!.pictures;
  const extents = sorted.map(({ row: { pictures, ...row } }) => ({ ...row, count: pictures.length }));
  const { factor, pictures: places } = layOutGrid(extents, first!, options);
  const size = { width: factor * first!.width, height: factor * first!.height };
  for (const [r, { kept }] of sorted.entries())
    for (const [i, isKept] of kept.entries()) if (isKept) drawFrame(grid, { ...places[r]![i]!, ...size });
  return grid;
}

/** Four characters or so, which fit below a small picture. */
function shortNumber(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e4 || (size < 1e-3 && size > 0)) return value.toExponential(0);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

const pale = ({ rgb, ...size }: Picture): Picture => ({
  ...size,
  rgb: rgb.map((level) => 255 - dimmed * (255 - level)),
});

/** Two pixels outside of a rectangle and one inside. */
function drawFrame(
  { width: across, rgb }: Picture,
  { left, top, width, height }: { left: number; top: number; width: number; height: number },
): void {
  const colour = Uint8Array.from({ length: 3 * (width + 4) }, (_, i) => frame[i % 3]!);
  const line = (y: number, from: number, to: number): void =>
    rgb.set(colour.subarray(0, 3 * (to - from)), 3 * (y * across + from));
  for (let y = top - 2; y < top + height + 2; y++) {
    const isEdge = y <= top || y >= top + height - 1;
    line(y, left - 2, isEdge ? left + width + 2 : left + 1);
    if (!isEdge) line(y, left + width - 1, left + width + 2);
  }
}
