/** What a rating is made of. */
import type { LessonOptions } from './lessons.js';
import type { Drawn } from './pairs.js';
import type { Source } from './source.js';
import type { TasteFitting } from './taste.js';

export interface RatingOptions {
  readonly source: Source;
  /** Where votes and pictures go. */
  readonly folder: string;
  /** Votes that are wanted. */
  readonly pairs: number;
  readonly seed: number;
  readonly taste: TasteFitting | undefined;
  /** Draws `n` pictures of each prompt, from this seed on. */
  readonly draw: (prompts: readonly string[], n: number, seed: number) => Promise<readonly Drawn[]>;
  /** Frees the memory that drawing takes, before a training. */
  readonly rest: () => void;
  /** Votes that a training asks for at each pause; 0: none. */
  readonly ask: number;
  /** How a training is made besides its rewards. */
  readonly lesson: Omit<LessonOptions, 'changed' | 'config' | 'from' | 'between'>;
  readonly warn: (message: string) => void;
}
