/** Right and wrong values: what people type, and what damaged or foreign files hold. */
import fc from 'fast-check';

/** Texts that are wrong almost everywhere, and right in some places. */
export const oddText: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom('', ' ', '0', '-1', '1', '1.5', '007', '1e9', '1e999', '1e-999', '0x10', '1_000'),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom('NaN', 'Infinity', '-Infinity', '-0', '4294967296', '9007199254740993', '1,2'),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom('abc', 'true', 'null', '~', '[]', '{}', '[1', '{a', '"', "it's", '%s', '=', ',', ':'),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom('ü', '\u{1f980}', '\ufeff', '\u0000', '\ud800', 'a\nb', '\t', '٣', 'ﬁ', 'İ'),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom('.', '..', '/', '//', '/dev/null', '/nowhere/at/all', 'a'.repeat(300), 'x'.repeat(9000)),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '__proto__',
      'constructor',
      'toString',
      'hasOwnProperty',
      '!!js/function x',
      '&a *a',
      '<<',
    ),
  },
  { weight: 2, arbitrary: fc.string({ unit: 'grapheme', maxLength: 12 }) },
);

/** Whole numbers and fractions to the ends of their range. */
export const oddNumber: fc.Arbitrary<number> = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 7, 8, 16, -1, -8, 0.5, -0, 1e-9, 1e-45, 5e-324),
  fc.constantFrom(255, 999, 1000, 1001, 65_536, 2 ** 31, 2 ** 32, 1e9, 2 ** 53, 1e15, 3.5e38, 1e300, Number.MAX_VALUE),
  fc.integer({ min: -100, max: 2000 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);

/** Any value of JSON, small ones and plain wrong ones first. */
export const oddJson: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: oddNumber },
  { weight: 3, arbitrary: oddText },
  { weight: 2, arbitrary: fc.constantFrom(null, true, false, [], {}, [[]], [null], [0], [1, 2], { a: 1 }, { 0: 0 }) },
  { weight: 1, arbitrary: fc.array(oddNumber, { maxLength: 4 }) },
  { weight: 1, arbitrary: fc.array(oddText, { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) },
);

/** A number from 0 to 1, 1 excluded, none more likely than another. */
export const share: fc.Arbitrary<number> = fc.noBias(fc.nat(9999)).map((n) => n / 10_000);

/** A place in a tree, as shares of the numbers of keys on the way down. */
export interface Change {
  readonly place: readonly number[];
  readonly kind: 'set' | 'delete' | 'add' | 'rename';
  readonly value: unknown;
}

export const change: fc.Arbitrary<Change> = fc.record({
  place: fc.array(share, { minLength: 1, maxLength: 4 }),
  kind: fc.constantFrom('set', 'set', 'set', 'delete', 'add', 'rename'),
  value: oddJson,
});

const isTree = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/** A copy of a tree with one change in it. */
export function changed(tree: unknown, { place, kind, value }: Change): unknown {
  if (!isTree(tree)) return value;
  const copy = structuredClone(tree);
  let at: Record<string, unknown> = copy;
  for (const [depth, share] of place.entries()) {
    const keys = Object.keys(at);
    const key = keys[Math.floor(share * keys.length)];
    if (key === undefined) break;
    const below = at[key];
    if (depth < place.length - 1 && isTree(below)) {
      at = below;
      continue;
    }
    if (kind === 'delete') delete at[key];
    else if (kind === 'set') at[key] = value;
    else if (kind === 'add') at[`${key}_`] = value;
    else {
      if (!Array.isArray(at)) at[String(value).slice(0, 20)] = below; // an index of a billion would be a list as long
      delete at[key];
    }
    break;
  }
  return copy;
}
