/** What a page is told of a rating, and what it sends. */
import type { Choice } from '../finetune/taste/votes.js';
import type { Lesson } from './lessons.js';
import type { Pair, ShownPicture } from './pairs.js';
import type { ShownTaste } from './taste.js';

/** What a page knows of a pair. */
type PairState = Pick<Pair, 'id' | 'prompt'> & {
  readonly pictures: readonly Omit<ShownPicture, 'png'>[];
};

/** All that a page shows. */
export interface RatingState {
  /** Of this process: where it changes, everything is new. */
  readonly server: string;
  /** Counts up with every change. */
  readonly version: number;
  readonly model: string;
  readonly folder: string;
  readonly pairs: readonly PairState[];
  /** Votes that teach something, all but skips; and how many are wanted. */
  readonly counted: number;
  readonly of: number;
  readonly skipped: number;
  /** Ids of the last votes, the last one last. */
  readonly recent: readonly string[];
  readonly taste: ShownTaste | undefined;
  readonly fitting: boolean;
  /** Whether there is something to train by: a configuration, and a way to fit a taste. */
  readonly trains: boolean;
  readonly lesson: Omit<Lesson, 'run'> & { readonly run?: string };
  /** Votes that the training waits for: how many of how many are there, on pictures after so many updates. */
  readonly asking: { readonly votes: number; readonly of: number; readonly update: number } | undefined;
  /** What went wrong last, where something did. */
  readonly problem: string | undefined;
}

/** A vote as a page sends it. */
export interface GivenVote {
  /** The pair's id. */
  readonly pair: string;
  /** Hashes of its pictures, left and right. */
  readonly pictures: readonly string[];
  readonly choice: Choice;
  readonly seconds: number;
}
