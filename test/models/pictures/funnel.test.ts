/** The picture of a group's funnel, pixel by pixel where it matters. */
import { expect, test } from 'vitest';
import { funnelGrid } from '../../../models/pictures/funnel.js';
import { layOutGrid } from '../../../models/pictures/grid.js';
import { crop, type Picture } from '../../../models/pictures/png.js';

const flat = (level: number): Picture => ({ width: 32, height: 32, rgb: new Uint8Array(3 * 32 * 32).fill(level) });
const rows = [
  {
    caption: 'before step 2: 4, 2 go on',
    pictures: [10, 20, 30, 40].map(flat),
    values: [0.5, Number.NaN, 2, -1],
    kept: [false, false, true, true],
  },
  { caption: 'at the end: 2', pictures: [50, 60].map(flat), values: [1, 3], kept: [true, true] },
];
const grid = funnelGrid(rows);
const extents = [
  { caption: rows[0]!.caption, count: 4, labels: ['2.00', '0.50', '-1.00', 'lost'] },
  { caption: rows[1]!.caption, count: 2, labels: ['3.00', '1.00'] },
];
const layout = layOutGrid(extents, { width: 32, height: 32 }, { columns: 4, shown: 64 });
const placeOf = (row: number, i: number) => layout.pictures[row]![i]!;

test('pictures are enlarged and sorted by value, the lost last, those who did not go on paled', () => {
  expect([grid.width, grid.height, layout.factor]).toEqual([layout.width, layout.height, 2]);
  const middles = layout.pictures.map((places) =>
    places.map(({ left, top }) => crop(grid, { left: left + 32, top: top + 32, width: 1, height: 1 }).rgb[0]),
  );
  const pale = (level: number): number => Math.trunc(255 - 0.35 * (255 - level));
  expect(middles).toEqual([
    [30, pale(10), 40, pale(20)],
    [60, 50],
  ]);
});

test('those who went on are framed on every side, the others are not', () => {
  const framed = (row: number, i: number): boolean[] => {
    const { left, top } = placeOf(row, i);
    const sides = [
      [left - 1, top + 30],
      [left + 64, top + 30],
      [left + 30, top - 1],
      [left + 30, top + 64],
      [left, top],
      [left + 63, top + 63],
    ];
    return sides.map(([x, y]) => crop(grid, { left: x!, top: y!, width: 1, height: 1 }).rgb.join() === '0,114,178');
  };
  const all = (is: boolean): boolean[] => Array(6).fill(is);
  expect([0, 1, 2, 3].map((i) => framed(0, i))).toEqual([true, false, true, false].map(all));
  expect([0, 1].map((i) => framed(1, i))).toEqual([true, true].map(all));
  const { left, top } = placeOf(0, 0);
  expect(
    [...crop(grid, { left: left + 1, top: top + 1, width: 62, height: 62 }).rgb].every((level) => level === 30),
  ).toBe(true);
});

test('values stand below the pictures', () => {
  const below = ({ left, top }: { left: number; top: number }) =>
    crop(grid, { left, top: top + 66, width: 64, height: 22 });
  for (const [row, count] of [
    [0, 4],
    [1, 2],
  ] as const)
    for (let i = 0; i < count; i++) expect(below(placeOf(row, i)).rgb.includes(32), `${row} ${i}`).toBe(true);
});
