/** Agreement of votes: Wilson's interval against scipy, votes that have a rule and votes that have none. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  type Agreement,
  agreementReport,
  agreementText,
  doubtOf,
  wilson,
} from '../../../../grpo/finetune/taste/agreement.js';
import { type ComparedPair, designOf } from '../../../../grpo/finetune/taste/fit.js';
import { likings } from '../../../../grpo/finetune/taste/words.js';
import { random } from '../../../host.js';

const { intervals } = JSON.parse(readFileSync(new URL('../../../fixtures/taste.json', import.meta.url), 'utf8')) as {
  readonly intervals: readonly Agreement[]; // as make_taste_fixtures.py writes it
};

/** Votes on pictures of four numbers at random, by a rule. */
function designBy(count: number, choose: (left: Float64Array, right: Float64Array, i: number) => 0 | 0.5 | 1) {
  const chance = random([count, 2, 4], 5).data;
  const votes = Array.from({ length: count }, (_, i): ComparedPair => {
    const [left, right] = [0, 1].map((side) => chance.slice(4 * (2 * i + side), 4 * (2 * i + side + 1)));
    return { left: { plain: left! }, right: { plain: right! }, target: choose(left!, right!, i), pair: `${i}` };
  });
  return designOf(votes);
}

test("intervals are Wilson's, as scipy has them", () => {
  for (const { agree, of, low, high } of intervals) {
    const found = wilson(agree, of);
    expect(found.low).toBeCloseTo(low, 12);
    expect(found.high).toBeCloseTo(high, 12);
  }
  expect(wilson(0, 0)).toEqual({ agree: 0, of: 0, low: 0, high: 1 });
});

test('votes with a rule agree, more so the more there are, and nothing is to be said against them', async () => {
  const report = await agreementReport(designBy(60, (left, right) => (left[1]! > right[1]! ? 1 : 0)));
  expect(report.history.map(({ votes }) => votes)).toEqual([20, 30, 40, 50, 60]);
  expect(report.of).toBe(60);
  expect(report.agree / report.of).toBeGreaterThan(0.85);
  expect(report.history.at(-1)).toEqual({ votes: 60, agree: report.agree, of: 60, low: report.low, high: report.high });
  expect(doubtOf(report)).toBeUndefined();
  expect(agreementText({ agree: 41, of: 60, low: 0.557, high: 0.787 })).toBe(
    '68 % of 60 held-out votes (95 % interval: 56 % to 79 %)',
  );
});

test('votes without a rule are refused in words, and so are too few', async () => {
  const report = await agreementReport(designBy(40, (_, __, i) => (i % 2 === 0 ? 1 : 0)));
  expect(doubtOf(report)).toMatch(
    /^your votes do not agree with one another yet \(\d+ % of 40 held-out pairs; chance is 50 %\): rate more$/,
  );
  const few = await agreementReport(designBy(19, (left, right) => (left[1]! > right[1]! ? 1 : 0)));
  expect(doubtOf(few)).toBe('there are 19 votes, expected at least 20: rate more');
  expect(doubtOf(await agreementReport(designBy(0, () => 1)))).toBe(
    'there are 0 votes, expected at least 20: rate more',
  );
});

test('votes for equal have no side: they count in the fit and are not asked about', async () => {
  const report = await agreementReport(designBy(30, (left, right, i) => (i < 10 ? 0.5 : left[1]! > right[1]! ? 1 : 0)));
  expect(report.of).toBe(20);
  const none = await agreementReport(designBy(30, () => 0.5));
  expect([none.agree, none.of]).toEqual([0, 0]);
  expect(doubtOf(none)).toContain('0 % of 0 held-out pairs');
});

test('likings are told by how utilities go with plain numbers, the strongest first and each kind once', () => {
  const chance = random([400, 18], 9, { low: 0, high: 1 }).data;
  const plain = Array.from({ length: 400 }, (_, i) => chance.slice(18 * i, 18 * (i + 1)));
  expect(
    likings(
      plain.map((each) => -2 * each[6]! - 1.5 * each[12]!),
      plain,
    ),
  ).toEqual(['darker', 'calmer']);
  expect(
    likings(
      plain.map((each) => each[0]!),
      plain,
    ),
  ).toEqual(['more vivid']);
  expect(
    likings(
      plain.map((each) => -each[15]!),
      plain,
    ),
  ).toEqual(['calmer at the top right']);
  expect(
    likings(
      plain.map(() => 1),
      plain,
    ),
  ).toEqual([]);
});
