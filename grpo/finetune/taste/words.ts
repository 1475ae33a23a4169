/** What a taste is in words: the plain numbers that its utilities go by. */
import { momentsOf } from '../../learning/advantage.js';
import { type PlainName, plainNames } from './plain.js';

/** What it is called to like more of a plain number, and less. */
function wordsFor({ kind, measure }: PlainName): readonly [more: string, less: string] {
  const pole = {
    saturation: ['more vivid', 'paler'],
    lightness: ['lighter', 'darker'],
    edges: ['busier', 'calmer'],
  } as const;
  const [more, less] = pole[kind];
  if (measure === 'mean') return [more, less];
  if (measure === 'deviation') {
    const of = { saturation: 'colour', lightness: 'light', edges: 'detail' }[kind];
    return [`more contrast of ${of}`, `less contrast of ${of}`];
  }
  return [`${more} at the ${measure}`, `${less} at the ${measure}`];
}

/** A share of the strongest number's that is worth a word, and how many words there are. */
const [audible, mostWords] = [0.5, 3];

/**
 * What a person likes, the strongest first, by how the utility goes with each plain number over the pictures that were voted on:
 * features go together, so that a weight alone says little. `utilities` are those pictures', `plain` their plain numbers.
 * Empty where all pictures are alike to the taste.
 */
export function likings(utilities: readonly number[], plain: readonly Float64Array[]): string[] {
  const found = plainNames.map((name, i) => ({
    name,
    slope: correlation(
      utilities,
      plain.map((numbers) => numbers[i]!),
    ),
  }));
  const strongest = Math.max(...found.map(({ slope }) => Math.abs(slope)));
  if (!(strongest > 0)) return [];
  const kinds = new Set<string>();
  return found
    .filter(({ slope }) => Math.abs(slope) >= audible * strongest)
    .sort((a, b) => Math.abs(b.slope) - Math.abs(a.slope))
    .filter(({ name }) => !kinds.has(name.kind) && kinds.add(name.kind)) // quarters and the whole say nearly the same
    .slice(0, mostWords)
    .map(({ name, slope }) => wordsFor(name)[slope > 0 ? 0 : 1]);
}

/** Pearson's correlation; 0 where one of the two does not change. */
function correlation(a: readonly number[], b: readonly number[]): number {
  const [first, second] = [momentsOf(a), momentsOf(b)];
  const scale = a.length * first.std * second.std;
  return scale === 0 ? 0 : a.reduce((sum, value, i) => sum + (value - first.mean) * (b[i]! - second.mean), 0) / scale;
}
