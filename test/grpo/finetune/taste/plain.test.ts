/** Plain numbers of pictures: by hand, and the same of any size. */
import { expect, test } from 'vitest';
import { plainNames, plainNumbers } from '../../../../grpo/finetune/taste/plain.js';
import { enlarge, type Picture } from '../../../../models/pictures/png.js';
import { random } from '../../../host.js';

const numbersOf = (picture: Picture): Record<string, number> => {
  const values = plainNumbers(picture);
  return Object.fromEntries(plainNames.map(({ kind, measure }, i) => [`${kind} ${measure}`, values[i]!]));
};

/** A picture whose left half is red and whose right half is grey. */
const halves = (side: number): Picture => {
  const rgb = new Uint8Array(3 * side * side);
  for (let i = 0; i < side * side; i++) rgb.set(i % side < side / 2 ? [255, 0, 0] : [102, 102, 102], 3 * i);
  return { width: side, height: side, rgb };
};

test('there are 18, and those of two halves are as by hand', () => {
  expect(plainNames.length).toBe(18);
  const found = numbersOf(halves(32));
  expect(found['saturation mean']).toBeCloseTo(0.5, 14);
  expect(found['saturation top left']).toBe(1);
  expect(found['saturation bottom right']).toBe(0);
  expect(found['saturation deviation']).toBeCloseTo(Math.sqrt((64 * 0.25) / 63), 14);
  expect(found['lightness top left']).toBeCloseTo(1 / 3, 14);
  expect(found['lightness top right']).toBeCloseTo(0.4, 14);
  // The step of (0.6 + 0.4 + 0.4) / 3 stands in one of 31 columns, which both halves and two of eight fields reach or not.
  expect(found['edges top left']).toBeCloseTo(1.4 / 3 / 16, 14);
  expect(found['edges top right']).toBeCloseTo(1.4 / 3 / 16, 14);
});

test('an enlarged picture has the same bits, and one of any other size nearly the same numbers', () => {
  const rgb = Uint8Array.from(random([3 * 32 * 32], 1, { low: 0, high: 256 }).data);
  const small = { width: 32, height: 32, rgb };
  for (const factor of [2, 3, 16]) expect(plainNumbers(enlarge(small, factor))).toEqual(plainNumbers(small));
  const [even, odd] = [plainNumbers(halves(64)), plainNumbers(halves(62))];
  for (const [i, value] of even.entries()) expect(Math.abs(value - odd[i]!)).toBeLessThan(0.02);
  const flat = plainNumbers({ width: 5, height: 3, rgb: new Uint8Array(45).fill(51) });
  for (const [i, { kind, measure }] of plainNames.entries())
    expect(flat[i]).toBeCloseTo(kind === 'lightness' && measure !== 'deviation' ? 0.2 : 0, 14);
});

test('what is upside down or mirrored has its quarters exchanged', () => {
  const rgb = Uint8Array.from(random([3 * 32 * 32], 2, { low: 0, high: 256 }).data);
  const mirrored = new Uint8Array(rgb.length);
  for (let i = 0; i < 32 * 32; i++) {
    const from = 3 * (32 * Math.floor(i / 32) + 31 - (i % 32));
    mirrored.set(rgb.subarray(from, from + 3), 3 * i);
  }
  const [a, b] = [rgb, mirrored].map((each) => numbersOf({ width: 32, height: 32, rgb: each }));
  for (const kind of ['saturation', 'lightness']) {
    expect(b![`${kind} top left`]).toBeCloseTo(a![`${kind} top right`]!, 12);
    expect(b![`${kind} deviation`]).toBeCloseTo(a![`${kind} deviation`]!, 12);
  }
});
