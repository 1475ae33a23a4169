/**
 * The synthetic person whose judgements the embedded rewards are trained on: how much a picture pleases who asked for it by a
 * caption. A weighted sum of what the picture gets wrong, of its style, and of its damage.
 */
import { type SceneWords, wrongClaims } from './caption.js';
import type { Random } from './random.js';
import { centring, type Style } from './scenes.js';

/** What someone cares about: utility per wrong word, over the range of each part of a style, and of full damage. */
export interface Taste {
  readonly fidelity: number;
  readonly size: number;
  readonly vivid: number;
  readonly clean: number;
  readonly centred: number;
  readonly sharp: number;
  readonly dark: number;
  readonly damage: number;
}

/** The tastes behind the embedded rewards, different enough that one rising by itself says nothing of the others. */
export const tastes = {
  'scenes-pick': { fidelity: 1.6, size: 1.2, vivid: 1.2, clean: 1, centred: 0.5, sharp: 0.5, dark: 0, damage: 1.5 },
  'scenes-hps': { fidelity: 2, size: 0.3, vivid: 0.8, clean: 0.8, centred: 0.3, sharp: 0.9, dark: 0.8, damage: 1.5 },
  'scenes-aesthetic': { fidelity: 0, size: 0.3, vivid: 1, clean: 1, centred: 0.8, sharp: 0.6, dark: 0.6, damage: 1.5 },
} as const satisfies Readonly<Record<string, Taste>>;

/** A picture as the person sees it: what it shows, in which style, how damaged (0 to 1). */
export interface Seen {
  readonly words: SceneWords;
  readonly style: Style;
  readonly damage: number;
}

/** How much a picture pleases; about -6 to 3. A style in the middle of its range counts nothing. */
export function utility(taste: Taste, asked: SceneWords, { words, style, damage }: Seen): number {
  const parts = ['size', 'vivid', 'clean', 'sharp', 'dark'] as const;
  const styled = parts.reduce((sum, part) => sum + taste[part] * (style[part] - 0.5), 0);
  const centred = taste.centred * (centring(style) - 0.5);
  return styled + centred - taste.fidelity * wrongClaims(asked, words) - taste.damage * damage;
}

/** How sure the person is: a difference d of utilities is told right with probability 1 / (1 + exp(-2 d)). */
const sureness = 2;

/** Whether the person prefers the first of two utilities; now and then wrongly. (Bradley and Terry 1952.) */
export const prefers = (first: number, second: number, random: Random): boolean =>
  random.next() < 1 / (1 + Math.exp(-sureness * (first - second)));

/** The rating of a utility, as people rate pictures from 1 to 10: about 5, with an error of deviation 0.3. */
export const rating = (pleasure: number, random: Random): number => 5 + pleasure + 0.3 * random.normal();
