/** A taste that likes brightness, for tests of the page: it asks no network and is fitted at once. */

import { readVotes } from '../../../grpo/finetune/taste/votes.js';
import type { TasteFitting } from '../../../grpo/rate/index.js';

export interface StandIn extends TasteFitting {
  /** How often it was fitted, how often asked which pair to show, and how it was asked for the pictures. */
  readonly asked: { fits: number; written: number; pairs: number; candidates: number };
}

/** `agrees` after so many votes. */
export function brightTaste({ agreesAfter = 20 }: { readonly agreesAfter?: number } = {}): StandIn {
  const asked = { fits: 0, written: 0, pairs: 0, candidates: 0 };
  return {
    asked,
    fit: async (folder) => {
      asked.fits++;
      const { votes } = await readVotes(folder);
      const of = votes.filter(({ choice }) => choice === 'left' || choice === 'right').length;
      const agrees = of >= agreesAfter;
      const agreement = { agree: Math.round(0.8 * of), of, low: 0.6, high: 0.9 };
      const sentence = agrees
        ? 'Your votes agree with one another.'
        : 'Your votes do not agree with one another yet: rate more.';
      const history = [10, of].map((count) => ({
        ...agreement,
        agree: Math.round(0.7 * count),
        of: count,
        votes: count,
      }));
      return { agreement: { ...agreement, history }, agrees, sentence, words: ['brighter'] };
    },
    nextPair: async (pictures) => {
      asked.pairs++;
      asked.candidates = pictures.length;
      return [0, pictures.length - 1];
    },
    write: async () => void asked.written++,
    rest: () => {},
    rewards: async () => ['reward={ brightness: { weight: 1 } }'],
  };
}
