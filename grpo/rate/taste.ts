/** What the votes have taught so far: fitted now and then while somebody votes, for the page and for the choice of pairs. */
import type { AgreementReport } from '../finetune/taste/agreement.js';
import type { Drawn } from './pairs.js';

/** A taste as a page shows it. */
export interface ShownTaste {
  readonly agreement: AgreementReport;
  /** Whether it is good enough to train by, and a sentence that says so. */
  readonly agrees: boolean;
  readonly sentence: string;
  /** What was learned, in words: darker, calmer. */
  readonly words: readonly string[];
}

/** A way to fit a taste to the votes of a folder. Only one of its functions works at a time. */
export interface TasteFitting {
  /** Fits what the folder's votes teach. Throws for votes that can't be used. */
  fit(folder: string): Promise<ShownTaste>;
  /** Leaves what was fitted last in the folder, to train by. */
  write(folder: string): Promise<void>;
  /** Which two pictures of a prompt would teach the most, by what was fitted last, after so many votes. */
  nextPair(pictures: readonly Drawn[], votes: number): Promise<readonly [number, number]>;
  /** Changes of a configuration's keys that have it train by the folder's taste; `force`: although its votes do not agree. */
  rewards(folder: string, options: { readonly force: boolean }): Promise<readonly string[]>;
  /** Frees what it holds on the GPU; it is made again where it is needed. */
  rest(): void;
}
