import { expect, test } from 'vitest';
import { linesOf, rustNormalizer, rustPreTokenizer, strip } from '../../../models/text/unicode.js';

test('white space at the ends is that of Python', () => {
  const white = '\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000';
  expect(strip(`${white}a b${white}`)).toBe('a b');
  for (const other of ['\ufeff', '\u200b', '\u180e', '\0', '\x1b']) expect(strip(` ${other} `)).toBe(other);
});

test('lines end as those of a text file in Python', () => {
  expect(linesOf('a\nb\r\nc\rd\u2028\x85e')).toEqual(['a', 'b', 'c', 'd\u2028\x85e']);
});

test('steps that are right already stay as they are', () => {
  for (const step of [null, { type: 'NFC' }, { type: 'ByteLevel', use_regex: false }, { type: 'Metaspace' }]) {
    expect(rustNormalizer(step)).toEqual(step);
    expect(rustPreTokenizer(step)).toEqual(step);
  }
  expect(rustPreTokenizer({ type: 'WhitespaceSplit' })).toMatchObject({ pattern: { Regex: '\\S+' } });
});
