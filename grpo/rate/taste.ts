/** What the votes have taught so far: fitted now and then while somebody votes, for the page and for the choice of pairs. */
import type { Drawn } from './pairs.js';

/** How well a taste foretells votes that it was not fitted to. */
export interface Agreement {
  /** Held-out pairs, and on how many of them it agrees. */
  readonly agree: number;
  readonly of: number;
  /** The interval of the share. */
  readonly low: number;
  readonly high: number;
}

/** A taste as a page shows it. */
export interface ShownTaste {
  readonly agreement: Agreement;
  /** The agreement after fewer votes, and now. */
  readonly history: readonly (Agreement & { readonly votes: number })[];
  /** Whether it is good enough to train by, and a sentence that says so. */
  readonly agrees: boolean;
  readonly sentence: string;
  /** What was learned, in words: darker, smaller. */
  readonly words: readonly string[];
}

/** A way to fit a taste to the votes of a folder. */
export interface TasteFitting {
  /** Fits what the folder's votes teach; throws where they are too few. Also leaves it there to train by, where `write` is set. */
  fit(folder: string, options: { readonly write: boolean }): Promise<ShownTaste>;
  /** Which two pictures of a prompt would teach the most, by what was fitted last. */
  nextPair(pictures: readonly Drawn[]): Promise<readonly [number, number]>;
  /** Changes of a configuration's keys that have it train by the folder's taste. */
  rewards(folder: string): Promise<readonly string[]>;
  /** Frees what it holds on the GPU. */
  dispose?(): void;
}
