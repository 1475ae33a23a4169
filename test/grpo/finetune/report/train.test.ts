/** Records and lines of updates and evaluations, from reports by hand. */
import { describe, expect, test } from 'vitest';
import { bar, formatCount, formatReward, formatSeconds } from '../../../../grpo/finetune/report/numbers.js';
import { resultTable, shownRewards } from '../../../../grpo/finetune/report/results.js';
import { doneLines, evaluationRow, statusLine, tableHead, tableRow } from '../../../../grpo/finetune/report/train.js';
import {
  compareEvaluations,
  evaluationRecord,
  groupRecords,
  updateRecord,
  withTotal,
} from '../../../../grpo/finetune/run/metrics.js';
import type { OptimizerReport, UpdateReport } from '../../../../grpo/update_report.js';

const step = (changes: Partial<OptimizerReport>): OptimizerReport => ({
  policyLoss: 0,
  kl: 0,
  approxKL: 0,
  clipFraction: 0,
  clipFractionHigh: 0,
  clipFractionLow: 0,
  ratioMean: 1,
  ratioDeviation: 0,
  gradNorm: 0,
  rows: 4,
  ...changes,
});

const report: UpdateReport = {
  update: 6,
  groups: [
    {
      prompt: { prompt: 'a cat', meta: { count: 1, prompt: 'no' } },
      selections: [{ step: 2, samples: [0, 1, 2], rewards: [1, 2, 3], kept: [0, 2] }],
      survivors: [{ sample: 2, reward: 1.5 }],
      lost: [0],
      finals: [Number.NaN, 1.5],
      byReward: { a: [0, 1.5] },
      first: [1, 2, 3],
      baseline: [1.5],
      calls: 8,
      decodes: 5,
      seconds: { sample: 1, reward: 2 },
    },
  ],
  advantages: [[1]],
  reward: { mean: 1.5, std: 0.25 },
  all: { mean: 2, std: 0.5 },
  kept: { mean: 1.5, std: 0.75 },
  byReward: { a: 0.75 },
  zeroSpread: 0,
  steps: [step({ kl: 1, clipFraction: 0.5, gradNorm: 2, rows: 6 }), step({ kl: 4, ratioDeviation: 0.1, rows: 2 })],
  counts: { calls: 8, decodes: 5, survivors: 2, trained: 8 },
  flops: 500,
  seconds: { sample: 1, reward: 2, train: 1 },
};

describe('records', () => {
  test("an update has TRL's names; what its optimizer steps average goes by their rows", () => {
    expect(updateRecord(report, { seconds: 5, lr: 1e-3, totals: { calls: 100, flops: 1500 } })).toMatchObject({
      update: 7,
      reward: 1.5,
      reward_std: 0.25,
      'rewards/a/mean': 0.75,
      'spread/all': 0.5,
      'spread/kept': 0.75,
      frac_reward_zero_std: 0,
      kl: (6 * 1 + 2 * 4) / 8,
      'clip_ratio/region_mean': (6 * 0.5) / 8,
      'ratio/max_deviation': 0.1,
      grad_norm: 1.5,
      learning_rate: 1e-3,
      seconds: 5,
    });
    const idle = updateRecord(
      { ...report, steps: [step({ rows: 0, ratioMean: 1 })] },
      { seconds: 5, lr: 1, totals: { calls: 100, flops: 1500 } },
    );
    expect(idle['ratio/mean']).toBe(1);
  });

  test('what a loss does not have, no record has, and no line shows', () => {
    const without = { policyLoss: 2, kl: 0, gradNorm: 1, rows: 4 };
    const facts = { seconds: 5, lr: 1e-3, totals: { calls: 100, flops: 1500 } };
    const record = updateRecord({ ...report, steps: [without] }, facts);
    expect(Object.keys(record).filter((name) => /ratio|approx|prediction/.test(name))).toEqual([]);
    expect(record.policy_loss).toBe(2);
    expect(tableRow(record, 60)).toMatch(/ 0\.0000 +– +1\.0 /);
    const steps = [0, 0.25].map((predictionDeviation) => ({ ...without, predictionDeviation }));
    expect(updateRecord({ ...report, steps }, facts)).toMatchObject({ 'prediction/max_deviation': 0.25 });
  });

  test('a group has what each selection saw and kept; its own prompt is not that of the meta data', () => {
    expect(groupRecords(report)).toEqual([
      {
        update: 7,
        group: 0,
        count: 1,
        prompt: 'a cat',
        selections: [{ step: 2, samples: [0, 1, 2], rewards: [1, 2, 3], kept: [0, 2] }],
        survivors: [0, 2],
        rewards: [Number.NaN, 1.5],
        advantages: [0, 1],
        finals: [Number.NaN, 1.5],
        parts: { a: [0, 1.5] },
        calls: 8,
        decodes: 5,
      },
    ]);
  });

  test('an evaluation has the weighted sum first, and compares picture by picture', () => {
    const before = withTotal({ a: [1, 2, 3], b: [0, 0, 0], c: [5, 5, 5] }, { a: 2, b: -1, c: 0 });
    expect(before).toEqual({ reward: [2, 4, 6], a: [1, 2, 3], b: [0, 0, 0], c: [5, 5, 5] });
    expect(Object.keys(before)[0]).toBe('reward');
    expect(evaluationRecord(3, 0, before)).toMatchObject({
      update: 3,
      rewards: { reward: { mean: 4, count: 3 } },
    });
    const after = { ...before, reward: [3, 5, 7], a: [1, 2] };
    const found = compareEvaluations(before, after);
    expect(found.reward).toMatchObject({ before: 4, after: 5, low: 1, high: 1, n: 3 });
    expect(Object.keys(found), 'other pictures can not be compared').toEqual(['reward', 'b', 'c']);
  });
});

describe('lines', () => {
  const record = updateRecord(report, { seconds: 5, lr: 1e-3, totals: { calls: 100, flops: 1500 } });

  test('rows stand under the head of the table', () => {
    const [head, row] = [tableHead(), tableRow(record, 40)];
    expect(row.trim().split(/ {2,}/)).toEqual([
      '7/40',
      '1.500 ± 0.250',
      '0.500 / 0.750',
      '1.7500',
      '38 %',
      '1.5',
      '5.0',
      '25 / 50 %',
    ]);
    for (const [name, cell] of Object.entries({ reward: '1.500', kl: '1.7500', clip: '38', 'draw/score': '25 / 50' }))
      expect(row.indexOf(cell), name).toBe(head.indexOf(` ${name}`) + 1);
    const widest = {
      ...record,
      update: 1234,
      grad_norm: 0.0123,
      reward: -12.345,
      reward_std: 10.5,
      'clip_ratio/region_mean': 1,
    };
    expect(Math.max(head.length, tableRow(widest, 1234).length)).toBeLessThanOrEqual(80);
    const evaluated = evaluationRow(0, 40, { reward: { mean: 0.4 }, a: { mean: 0.4 }, b: { mean: 2 } }, { a: 1 });
    expect(evaluated.trim()).toBe('0/40  held-out a 0.400   b 2.000');
  });

  test('the live line says where an update stands', () => {
    const view = { update: 20, of: 40, groupSize: 24, steps: 10, secondsLeft: 36 };
    const sampling = { phase: 'sampling', group: 2, together: 1, groups: 8, step: 7, alive: 12, taken: 27 } as const;
    expect(statusLine(sampling, view).trim()).toBe('21/40  ####--------  group 3/8  step 7/10  alive 12/24  eta 36 s');
    expect(statusLine({ ...sampling, group: 4, together: 4, step: 5, taken: 60 }, view).trim()).toBe(
      '21/40  #########---  groups 5-8/8  step 5/10  alive 12/24  eta 36 s',
    );
    const first = statusLine({ phase: 'training', rows: 96 }, { ...view, secondsLeft: undefined });
    expect(first.trim()).toBe('21/40  training 96 rows');
  });

  test('results are a table, the sum first, then each reward that is not the sum', () => {
    const summary = { before: 0.412, after: 0.641, low: 0.2101, high: 0.2502, n: 64 };
    const rewards = { reward: summary, clip: summary, checker: { ...summary, before: 0.5, after: 0.4988 } };
    expect(doneLines({ updates: 40, seconds: 73.6, rewards, weights: { clip: 1 }, deviation: 0.1 })).toEqual([
      'done     40 updates, 74 s; 64 held-out pictures before and after:',
      'reward   before  after  difference (95 % interval)',
      'clip      0.412  0.641  +0.229 (0.210 to 0.250)  trained on: 2.3 deviations of a group',
      'checker   0.500  0.499  -0.001 (0.210 to 0.250)',
    ]);
    const none = { updates: 1, seconds: 73.6, rewards: {}, weights: { clip: 1 }, deviation: undefined };
    expect(doneLines(none)).toEqual(['done     1 update, 74 s']);
    const names = (weights: Record<string, number>) => shownRewards(rewards, weights).map(([name]) => name);
    expect(names({ clip: 2 })).toEqual(['reward', 'clip', 'checker']);
    expect(names({ clip: 1, checker: 1 })).toEqual(['reward', 'clip', 'checker']);
    expect(names({ clip: 1, checker: 0 })).toEqual(['reward', 'checker']);
    const wide = resultTable({ reward: { before: 2.16, after: 4.05, low: 1.8, high: 1.98, n: 64 } }, { a: 1, b: 1 });
    expect(wide.at(-1)).toBe('reward   2.160  4.050  +1.890 (1.800 to 1.980)  trained on');
  });

  test('numbers', () => {
    expect([0.12345, -12.3456, 123.456, 54321.6, Number.NaN].map((value) => formatReward(value))).toEqual([
      '0.123',
      '-12.346',
      '123.5',
      '54322',
      'NaN',
    ]);
    expect([999, 12_345, 412_345, 2.47e6, 8e9].map(formatCount)).toEqual([
      '999',
      '12.3 k',
      '412 k',
      '2.47 M',
      '8.00 G',
    ]);
    expect([bar(0, 4), bar(0.5, 4), bar(1, 4), bar(7, 4)]).toEqual(['----', '##--', '####', '####']);
    expect([36.4, 720, 12600].map(formatSeconds)).toEqual(['36 s', '12 min', '3.5 h']);
  });
});
