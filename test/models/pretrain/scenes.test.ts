import { describe, expect, test } from 'vitest';
import {
  colors,
  drawWords,
  isHeldOut,
  readCaption,
  relations,
  shapes,
  varyWords,
  writeCaption,
} from '../../../models/pretrain/caption.js';
import { randomStream } from '../../../models/pretrain/random.js';
import { checkScene, readScene } from '../../../models/pretrain/scene_checker.js';
import { drawScene, makeScene, placeScene, type Scene, sceneSize } from '../../../models/pretrain/scenes.js';

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
    const random = randomStream(1);
    for (let i = 0; i < 2000; i++) {
      const words = drawWords(random);
      expect(readCaption(writeCaption(words)), writeCaption(words)).toEqual(words);
    }
    expect(readCaption('A red circle above a small blue square.')).toEqual({
      objects: [
        { shape: 'circle', color: 'red', size: 'medium' },
        { shape: 'square', color: 'blue', size: 'small' },
      ],
      relation: 'above',
    });
    for (const text of ['', 'a circle', 'four red circles', 'a red circle near a blue square'])
      expect(readCaption(text)).toBeUndefined();
  });

  test('articles and plurals', () => {
    const orange = { shape: 'cross', color: 'orange', size: 'medium' } as const;
    expect(writeCaption({ objects: [orange] })).toBe('an orange cross');
    expect(writeCaption({ objects: [orange, orange] })).toBe('two orange crosses');
  });

  test('an eighth of the captions is held out, the same for ever', () => {
    const all = colors.flatMap((color) =>
      shapes.flatMap((shape) => relations.map((r) => `a ${color} ${shape} ${r} a red ring`)),
    );
    const share = all.filter(isHeldOut).length / all.length;
    expect(share).toBeGreaterThan(0.06);
    expect(share).toBeLessThan(0.2);
    expect(makeScene(1, 5, 'heldOut').caption).toBe(makeScene(1, 5, 'heldOut').caption);
    expect(isHeldOut(makeScene(1, 5, 'heldOut').caption)).toBe(true);
    expect(isHeldOut(makeScene(1, 5, 'train').caption)).toBe(false);
  });

  test('on the grid, objects stand on its places, whatever the caption, and the words are those of free places', () => {
    for (let i = 0; i < 300; i++) {
      const { objects, caption } = makeScene(3, i, 'train', 'grid');
      for (const { x, y } of objects)
        expect([x % 8, y % 8, Math.max(x, y) <= 48, Math.min(x, y) >= 16]).toEqual([0, 0, true, true]);
      expect(caption).toBe(makeScene(3, i, 'train').caption);
    }
  });
});

describe('the scene checker', () => {
  test('reads at least 98 % of fresh scenes right, blurred and noisy', () => {
    for (const [sigma, noise] of [
      [0.01, 0],
      [0.7, 0.04],
      [1, 0.06],
    ] as const) {
      const wrong: string[] = [];
      for (let i = 0; i < 300; i++) {
        const scene = makeScene(11, i, 'heldOut');
        const { correct, found } = checkScene(spoil(scene, i, sigma, noise), scene.words);
        if (!correct)
          wrong.push(`${scene.caption}: ${found.map((o) => `${o.size} ${o.color} ${o.shape} ${o.fit.toFixed(2)}`)}`);
      }
      expect(wrong.length, `blur ${sigma}, noise ${noise}:\n${wrong.join('\n')}`).toBeLessThanOrEqual(6);
    }
  });

  test('a scene is not taken for that of another caption', () => {
    let mistaken = 0;
    for (let i = 0; i < 200; i++) {
      const [scene, other] = [makeScene(12, i, 'train'), makeScene(12, i + 1, 'train')];
      if (scene.caption !== other.caption && checkScene(scene.pixels, other.words).correct) mistaken++;
    }
    expect(mistaken).toBe(0);
  });

  test('the score counts what is right', () => {
    const red = { shape: 'circle', color: 'red', size: 'medium', x: 20, y: 20 } as const;
    const blue = { shape: 'square', color: 'blue', size: 'small', x: 20, y: 45 } as const;
    const words = readCaption('a red circle above a small blue square')!;
    expect(checkScene(drawScene([red, blue]), words)).toMatchObject({ correct: true, score: 1 });
    expect(
      checkScene(
        drawScene([
          { ...red, y: 45 },
          { ...blue, y: 20 },
        ]),
        words,
      ).score,
    ).toBeCloseTo(5 / 6);
    expect(checkScene(drawScene([red]), words).score).toBeCloseTo(2 / 6);
    expect(checkScene(drawScene([red, { ...blue, size: 'medium' }]), words).score).toBeCloseTo(5 / 6);
    expect(checkScene(drawScene([]), words)).toMatchObject({ correct: false, score: 0 });
    expect(readScene(drawScene([]))).toEqual([]);
  });

  test('noise alone is no object', () => {
    const random = randomStream(3);
    const noise = drawScene([]).map((value) => value + 0.06 * random.normal());
    expect(readScene(noise)).toEqual([]);
  });
});

test('a twin has another caption that the grammar reads, and as many objects unless they are counted', () => {
  const random = randomStream(4);
  for (let i = 0; i < 400; i++) {
    const words = drawWords(random);
    const twin = varyWords(words, random);
    const caption = writeCaption(twin);
    expect(caption).not.toBe(writeCaption(words));
    expect(readCaption(caption)).toEqual(twin);
    const counted =
      words.objects.length > 1 && !words.relation && new Set(words.objects.map((o) => JSON.stringify(o))).size === 1;
    if (!counted) expect(twin.objects).toHaveLength(words.objects.length);
    placeScene(twin, random); // throws where it does not fit
  }
});
