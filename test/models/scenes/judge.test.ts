import { describe, expect, test } from 'vitest';
import { readCaption } from '../../../models/scenes/caption.js';
import { prefers, rating, tastes, utility } from '../../../models/scenes/judge.js';
import { randomStream } from '../../../models/scenes/random.js';
import type { Style } from '../../../models/scenes/scenes.js';

const asked = readCaption('a red circle on blue')!;
const middle: Style = { size: 0.5, vivid: 0.5, clean: 0.5, sharp: 0.5, dark: 0.5, x: 16, y: 10.5 };

describe('the synthetic person', () => {
  test('a right picture in the middle of every style pleases by nothing', () => {
    for (const taste of Object.values(tastes))
      expect(utility(taste, asked, { words: asked, style: middle, damage: 0 })).toBe(0);
  });

  test('wrong words, styles and damage count by their weights', () => {
    const taste = tastes['scenes-pick'];
    const seen = { words: asked, style: middle, damage: 0 };
    expect(utility(taste, asked, { ...seen, words: { ...asked, shape: 'ring' } })).toBeCloseTo(-1.6);
    expect(utility(taste, asked, { ...seen, words: { color: 'blue', shape: 'circle', ground: 'red' } })).toBeCloseTo(
      -3.2,
    );
    expect(utility(taste, asked, { ...seen, style: { ...middle, size: 1, vivid: 0 } })).toBeCloseTo(0);
    expect(utility(taste, asked, { ...seen, style: { ...middle, clean: 1 } })).toBeCloseTo(0.5);
    expect(utility(taste, asked, { ...seen, style: { ...middle, y: 16 } })).toBeCloseTo(0.25);
    expect(utility(taste, asked, { ...seen, damage: 0.5 })).toBeCloseTo(-0.75);
    // An aesthetic does not ask what was asked for.
    expect(utility(tastes['scenes-aesthetic'], asked, { ...seen, words: readCaption('a white ring on green')! })).toBe(
      0,
    );
  });

  test('preferences err as Bradley and Terry say: a difference of 0.5 is told right in 73 of 100', () => {
    const random = randomStream(1);
    const right = Array.from({ length: 20_000 }, () => prefers(1, 0.5, random)).filter(Boolean).length;
    expect(right / 20_000).toBeCloseTo(1 / (1 + Math.exp(-1)), 2);
  });

  test('ratings lie around 5 with an error of 0.3', () => {
    const random = randomStream(2);
    const ratings = Array.from({ length: 20_000 }, () => rating(0.4, random));
    const mean = ratings.reduce((sum, value) => sum + value, 0) / ratings.length;
    const variance = ratings.reduce((sum, value) => sum + (value - mean) ** 2, 0) / ratings.length;
    expect(mean).toBeCloseTo(5.4, 2);
    expect(Math.sqrt(variance)).toBeCloseTo(0.3, 2);
  });
});
