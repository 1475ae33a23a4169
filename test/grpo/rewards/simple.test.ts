import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import { brightness, brightnessOf } from '../../../grpo/rewards/brightness.js';
import { color, colorfulnessOf } from '../../../grpo/rewards/color.js';
import { compressibility, jpegCompressibility } from '../../../grpo/rewards/compressibility.js';
import { encodeJpeg } from '../../../grpo/rewards/jpeg.js';
import { encodePng } from '../../../models/pictures/png.js';
import { pictureByRule, plainPicture } from './pictures.js';

interface JpegCase {
  readonly width: number;
  readonly height: number;
  readonly quality: number;
  readonly bytes: number;
  readonly sha256: string;
}

const path = join(packageRoot(), 'test', 'fixtures', 'rewards', 'pictures.json');
const { jpegs } = JSON.parse(readFileSync(path, 'utf8')) as { jpegs: JpegCase[] };

test('brightness is the luma of Rec. 601', async () => {
  expect(brightnessOf(plainPicture([255, 255, 255]))).toBe(1);
  expect(brightnessOf(plainPicture([0, 0, 0]))).toBe(0);
  expect(brightnessOf(plainPicture([255, 0, 0]))).toBeCloseTo(0.299, 12);
  expect(brightnessOf(plainPicture([0, 255, 0]))).toBeCloseTo(0.587, 12);
  const halves = { rgb: Uint8Array.of(0, 0, 0, 255, 255, 255) };
  expect(brightnessOf(halves)).toBe(0.5);
  expect(await brightness('bright').score([plainPicture([51, 51, 51])])).toEqual([0.2]);
});

test('colourfulness is that of Hasler and Süsstrunk', async () => {
  expect(colorfulnessOf(plainPicture([77, 77, 77]))).toBe(0);
  // Of one colour the deviations are 0 and the means stay: of pure red 255 and 127.5.
  expect(colorfulnessOf(plainPicture([255, 0, 0]))).toBeCloseTo(0.3 * Math.hypot(1, 0.5), 12);
  // Red and its complement: both means 0, deviations 255 and 127.5.
  const pair = { rgb: Uint8Array.of(255, 0, 0, 0, 255, 255) };
  expect(colorfulnessOf(pair)).toBeCloseTo(Math.hypot(1, 0.5), 12);
  const [grey, vivid] = await color().score([plainPicture([9, 9, 9]), pictureByRule('a', 16, 16)]);
  expect(vivid).toBeGreaterThan(grey!);
});

test.each(jpegs)('a JPEG of $width x $height at quality $quality has the bytes of libjpeg', (expected) => {
  const { width, height, quality, bytes, sha256 } = expected;
  const file = encodeJpeg(pictureByRule('jpeg', width, height), quality);
  expect(file.length).toBe(bytes);
  expect(createHash('sha256').update(file).digest('hex')).toBe(sha256);
});

test('compressibility is minus the kilobytes of a file over 500', async () => {
  const expected = jpegs.find(({ width, quality }) => width === 64 && quality === 95)!;
  const busy = pictureByRule('jpeg', 64, 64);
  expect(await jpegCompressibility().score([busy])).toEqual([-expected.bytes / 500_000]);
  const png = compressibility('png-compressibility', encodePng);
  const [plain, noisy] = await png.score([plainPicture([1, 2, 3]), busy]);
  expect(plain).toBeGreaterThan(noisy!);
  expect(noisy).toBe(-encodePng(busy).length / 500_000);
});
