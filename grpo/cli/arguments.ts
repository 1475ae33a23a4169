/** Parsers of the commands' options. */
import { InvalidArgumentError } from 'commander';

/** Parses an option as a whole number of at least `least`. */
export const wholeNumber =
  (least: number) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < least)
      throw new InvalidArgumentError(`Expected a whole number of at least ${least}.`);
    return value;
  };

/** Parses a port; 0 is any. */
export function portNumber(text: string): number {
  const port = wholeNumber(0)(text);
  if (port > 65535) throw new InvalidArgumentError('Expected a port, a whole number up to 65535.');
  return port;
}

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
