/** Which prompts an update samples: a function of seed and update alone, so that a resumed run goes on where it stopped. */
import { check } from '../engine/errors.js';
import { randomOrder } from './random.js';

/**
 * The prompts of update `update` (0-based), `count` of them: all prompts are passed through in a random order, then again
 * in another.
 */
export function promptsOfUpdate<P>(prompts: readonly P[], count: number, seed: number, update: number): P[] {
  check(prompts.length > 0, 'prompts: there are none');
  const orders = new Map<number, number[]>();
  return Array.from({ length: count }, (_, i) => {
    const place = update * count + i;
    const pass = Math.floor(place / prompts.length);
    const order = orders.get(pass) ?? randomOrder(prompts.length, seed, pass);
    orders.set(pass, order);
    return prompts[order[place % prompts.length]!]!;
  });
}
