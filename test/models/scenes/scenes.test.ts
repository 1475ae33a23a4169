import { describe, expect, test } from 'vitest';
import {
  allWords,
  colors,
  isHeldOut,
  readCaption,
  shapes,
  varyWords,
  wordsOf,
  writeCaption,
  wrongClaims,
} from '../../../models/scenes/caption.js';
import { randomStream } from '../../../models/scenes/random.js';
import { checkScene, readScene } from '../../../models/scenes/reader/scene_checker.js';
import {
  centring,
  drawScene,
  drawStyle,
  makeScene,
  radiusOf,
  type Scene,
  type Style,
  sceneSize,
} from '../../../models/scenes/scenes.js';

/** A picture blurred by a Gaussian of `sigma` pixels, with normal noise of deviation `noise` added. */
function spoil({ pixels }: Scene, seed: number, sigma: number, noise: number): Float32Array {
  const random = randomStream(seed);
  const kernel = Array.from({ length: 7 }, (_, i) => Math.exp(-((i - 3) ** 2) / (2 * sigma * sigma)));
  const total = kernel.reduce((sum, weight) => sum + weight, 0);
  const along = (source: Float32Array, step: number, limit: (i: number) => number): Float32Array =>
    source.map((_, i) => {
      const position = limit(i);
      let sum = 0;
      kernel.forEach((weight, k) => {
        const shift = Math.min(Math.max(position + k - 3, 0), sceneSize - 1) - position;
        sum += (weight / total) * source[i + shift * step]!;
      });
      return sum;
    });
  const rows = along(pixels, 1, (i) => i % sceneSize);
  return along(rows, sceneSize, (i) => Math.floor(i / sceneSize) % sceneSize).map(
    (value) => value + noise * random.normal(),
  );
}

describe('captions', () => {
  test('what is written is read back, and nothing else is', () => {
    expect(allWords).toHaveLength(colors.length * shapes.length * (colors.length - 1));
    for (const words of allWords) expect(readCaption(writeCaption(words)), writeCaption(words)).toEqual(words);
    expect(readCaption('A red circle on Blue.')).toEqual({ color: 'red', shape: 'circle', ground: 'blue' });
    for (const text of ['', 'a circle', 'a red circle', 'a red circle on red', 'a red circle above blue'])
      expect(readCaption(text)).toBeUndefined();
  });

  test('articles', () => {
    expect(writeCaption({ color: 'orange', shape: 'cross', ground: 'white' })).toBe('an orange cross on white');
    expect(writeCaption({ color: 'red', shape: 'ring', ground: 'cyan' })).toBe('a red ring on cyan');
  });

  test('an eighth of the captions is held out, the same for ever', () => {
    expect([wordsOf.train.length, wordsOf.heldOut.length]).toEqual([295, 41]);
    expect(wordsOf.heldOut.map(writeCaption).every(isHeldOut)).toBe(true);
    expect(wordsOf.train.map(writeCaption).some(isHeldOut)).toBe(false);
    expect(isHeldOut('an orange cross on white')).toBe(true);
    expect(isHeldOut('a red circle on blue')).toBe(false);
  });

  test('a twin differs in one claim, or has its two colours exchanged', () => {
    const random = randomStream(4);
    const kinds = new Set<string>();
    for (let i = 0; i < 400; i++) {
      const words = random.pick(allWords);
      const twin = varyWords(words, random);
      expect(readCaption(writeCaption(twin))).toEqual(twin);
      const exchanged = twin.color === words.ground && twin.ground === words.color;
      expect(wrongClaims(words, twin)).toBe(exchanged ? 2 : 1);
      kinds.add(exchanged ? 'exchange' : twin.shape !== words.shape ? 'shape' : 'colour');
    }
    expect(kinds.size).toBe(3);
  });
});

describe('scenes', () => {
  test('a scene is a function of seed, index and split', () => {
    const [first, again] = [makeScene(1, 5, 'heldOut'), makeScene(1, 5, 'heldOut')];
    expect(again).toEqual(first);
    expect(isHeldOut(first.caption)).toBe(true);
    expect(isHeldOut(makeScene(1, 5, 'train').caption)).toBe(false);
    for (const other of [makeScene(2, 5, 'heldOut'), makeScene(1, 6, 'heldOut')])
      expect(other.style).not.toEqual(first.style);
  });

  test('styles are uniform, and shapes stay in the picture, whose values stay in [0, 1]', () => {
    const styles = Array.from({ length: 4000 }, (_, i) => drawStyle(randomStream(i)));
    for (const part of ['size', 'vivid', 'clean', 'sharp', 'dark'] as const) {
      const counts = Array<number>(4).fill(0);
      for (const style of styles) counts[Math.floor(4 * style[part])]!++;
      // 1000 are expected of each quarter, with a deviation of 27.
      for (const count of counts) expect(Math.abs(count - 1000), part).toBeLessThan(140);
    }
    for (const { x, y, size } of styles) {
      const reach = radiusOf(size);
      expect(Math.max(x, y) + reach).toBeLessThanOrEqual(sceneSize);
      expect(Math.min(x, y) - reach).toBeGreaterThanOrEqual(0);
    }
    const { pixels } = makeScene(3, 1, 'train');
    expect(pixels).toHaveLength(3 * sceneSize ** 2);
    expect(pixels.every((value) => value >= 0 && value <= 1)).toBe(true);
  });

  test('a shape covers what it should: a vivid red square in the middle of dark blue', () => {
    const style: Style = { size: 0.5, vivid: 1, clean: 1, sharp: 1, dark: 1, x: 16, y: 16 };
    const pixels = drawScene({ color: 'red', shape: 'square', ground: 'blue' }, style, randomStream(1));
    const at = (x: number, y: number): number[] => [0, 1, 2].map((c) => pixels[c * 1024 + y * 32 + x]!);
    for (const [found, expected] of [
      [at(16, 16), [0.88, 0.14, 0.14]],
      [at(10, 21), [0.88, 0.14, 0.14]],
      [at(3, 3), [0.16 * 0.3, 0.3 * 0.3, 0.92 * 0.3]],
    ] as const)
      found.forEach((value, c) => {
        expect(value).toBeCloseTo(expected[c]!, 2);
      });
    expect(centring(style)).toBe(1);
    expect(centring({ ...style, x: 5 })).toBe(0);
  });
});

describe('the scene checker', () => {
  test.each([
    ['as they were drawn', 0.01, 0, 0.98],
    ['blurred a little, with noise', 0.5, 0.03, 0.95],
  ])('reads fresh scenes %s', (_, sigma, noise, least) => {
    const wrong: string[] = [];
    const count = 200;
    for (let i = 0; i < count; i++) {
      const scene = makeScene(11, i, 'heldOut');
      const { correct, found } = checkScene(spoil(scene, i, sigma, noise), scene.words);
      if (!correct) wrong.push(`${scene.caption}: ${writeCaption(found)}`);
    }
    expect(1 - wrong.length / count, wrong.join('\n')).toBeGreaterThanOrEqual(least);
  });

  test('the style matters little, also a bit beyond its range', () => {
    const styles: Style[] = [
      { size: 1.1, vivid: 1, clean: 1, sharp: 1, dark: 1, x: 16, y: 16 },
      { size: 0.3, vivid: 0, clean: 1, sharp: 0, dark: 0, x: 10, y: 20 },
      { size: 0.8, vivid: 1.1, clean: 0.5, sharp: 0.5, dark: 0.5, x: 15, y: 16 },
    ];
    const wrong = styles.flatMap((style, i) =>
      wordsOf.heldOut.flatMap((words) => {
        const { found, correct } = checkScene(drawScene(words, style, randomStream(i)), words);
        return correct ? [] : [`${i}: ${writeCaption(words)}, read as ${writeCaption(found)}`];
      }),
    );
    expect(wrong.length, wrong.join('\n')).toBeLessThanOrEqual(3); // of 123
  });

  test('a scene is not taken for that of another caption', () => {
    for (let i = 0; i < 60; i++) {
      const [scene, other] = [makeScene(12, i, 'train'), makeScene(12, i + 1, 'train')];
      if (scene.caption !== other.caption) expect(checkScene(scene.pixels, other.words).correct).toBe(false);
    }
  });

  test('the score is the share of the claims that hold', () => {
    const style: Style = { size: 0.6, vivid: 0.8, clean: 0.9, sharp: 0.8, dark: 0.6, x: 14, y: 17 };
    const words = readCaption('a red circle on blue')!;
    const pixels = drawScene(words, style, randomStream(1));
    expect(checkScene(pixels, words)).toMatchObject({ correct: true, score: 1, found: words });
    expect(checkScene(pixels, { ...words, shape: 'ring' })).toMatchObject({ correct: false, score: 2 / 3 });
    expect(checkScene(pixels, readCaption('a blue circle on red')!).score).toBeCloseTo(1 / 3);
    expect(checkScene(pixels, readCaption('a green ring on white')!).score).toBe(0);
  });

  test('the fit tells scenes from pictures without a shape', () => {
    const random = randomStream(3);
    const noise = Float32Array.from({ length: 3 * sceneSize ** 2 }, () => 0.5 + 0.06 * random.normal());
    expect(readScene(noise).fit).toBeLessThan(0.3);
    expect(readScene(makeScene(3, 4, 'train').pixels).fit).toBeGreaterThan(0.7);
  });
});
