/** Parsers of the commands' options. */
import { InvalidArgumentError } from 'commander';

/** Parses an option as a whole number from `least` to `most`. */
export const wholeNumber =
  (least: number, most: number = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < least || value > most) {
      const bound = most === Number.MAX_SAFE_INTEGER ? '' : ` and at most ${most}`;
      throw new InvalidArgumentError(`Expected a whole number of at least ${least}${bound}.`);
    }
    return value;
  };

/** Parses a port; 0 is any. */
export const portNumber = wholeNumber(0, 65535);

/** Parses a seed: noise is a function of its 32 bits. */
export const seedNumber = wholeNumber(0, 0xffffffff);

/** Steps of a trajectory at most, far above what any sampler takes. */
export const mostSteps = 100_000;

/** Pictures that a command draws at most: all are kept until it ends. */
export const mostPictures = 1_000_000;

/** Parses a number of at least 0. */
export function positive(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0) || !Number.isFinite(value))
    throw new InvalidArgumentError('Expected a number of at least 0.');
  return value;
}

/** Gathers an option that may be given again. */
export const collect = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

/** Parses names with commas between them. */
export function names(text: string): readonly string[] {
  const all = text.split(',').map((name) => name.trim());
  if (all.includes('')) throw new InvalidArgumentError('Expected names with commas between them.');
  return all;
}

/** Parses one of some words. */
export const oneOf =
  <T extends string>(...words: readonly T[]) =>
  (text: string): T => {
    const found = words.find((word) => word === text);
    if (found === undefined) throw new InvalidArgumentError(`Expected one of ${words.join(', ')}.`);
    return found;
  };
