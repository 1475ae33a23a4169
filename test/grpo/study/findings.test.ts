/** Tables, verdicts and curves of made-up runs whose right ones are known, and the report that tells of them. */
import { expect, test } from 'vitest';
import { normalShares, sharesOf } from '../../../grpo/study/clustering.js';
import type { TrainingExperiment } from '../../../grpo/study/experiment.js';
import { findingsOf } from '../../../grpo/study/findings.js';
import { captionMeans, type EvaluationPoint, type RunOutcome } from '../../../grpo/study/outcome.js';
import { flopRatio, interpolate, rewardAfter, rewardAtCost, secondsRatio } from '../../../grpo/study/quantities.js';
import { captionsOfSet } from '../../../grpo/study/recipe.js';
import { markdownOf } from '../../../grpo/study/report/markdown.js';
import { pageOf } from '../../../grpo/study/report/page.js';

const reward = 'r<1>';
const prompts = [0, 10, 20];

/** A run of 4 updates whose reward rises by `slope` an update, each of `cost` FLOP and seconds. */
function runOf(name: string, seed: number, slope: number, cost: number): RunOutcome {
  const point = (update: number): EvaluationPoint => {
    const heldOut = prompts.map((prompt) => prompt + slope * update);
    const costs = { calls: 10 * cost * update, flops: cost * update, seconds: cost * update };
    return { update, ...costs, scores: { [reward]: { heldOut, training: heldOut.map((value) => value - 1) } } };
  };
  const updates = [1, 2, 3, 4].map((update) => ({
    update,
    'total/flops': cost * update,
    'total/calls': 10 * cost * update,
    'spread/kept': seed,
  }));
  return { name, seed, of: 4, updates, secondsOfUpdate: cost, evaluations: [0, 2, 4].map(point) };
}

const claim = (of: string, over: string, quantity = rewardAfter(reward), margin?: number) => ({
  says: `${of} > ${over}.`,
  of,
  over,
  quantity,
  ...(margin !== undefined && { margin }),
});

const experiment: TrainingExperiment = {
  kind: 'training',
  name: 'made',
  paper: 'table 0',
  title: 'Made & up',
  about: 'About <it>.',
  baseline: 'base',
  base: true,
  methods: ['base', 'better', 'same', 'cheap', 'absent'].map((name) => ({ name, label: `<${name}>`, changes: {} })),
  columns: [rewardAfter(reward), rewardAfter(reward, { set: 'training' }), flopRatio, secondsRatio],
  figures: [
    { name: 'made_flops', title: 'A & B', over: 'flops', y: { kind: 'reward', reward } },
    { name: 'made_spread', title: 'Spread', over: 'updates', y: { kind: 'record', column: 'spread/kept' } },
  ],
  claims: [
    claim('better', 'base'),
    claim('base', 'better'),
    claim('same', 'base'),
    claim('same', 'base', rewardAfter(reward), 0.5),
    claim('cheap', 'base'),
    claim('cheap', 'base', rewardAtCost('flops', 0.5, { reward })),
    claim('absent', 'base'),
  ],
};

const outcomes = [0, 1, 2].flatMap((seed) => {
  const noise = 0.01 * (seed - 1);
  return [
    runOf('base', seed, 1, 2),
    runOf('better', seed, 1.5 + noise, 4),
    runOf('same', seed, 1 + noise, 2),
    runOf('cheap', seed, 0.9 + noise, 1),
    runOf('other', seed, 9, 9),
  ];
});
const findings = findingsOf(experiment, outcomes);

test('verdicts are those of the true differences', () => {
  expect(findings.claims.map(({ verdict }) => verdict)).toEqual([
    'holds',
    'fails',
    'open',
    'holds',
    'fails',
    'holds', // after all of its FLOPs, half of the baseline's, it is where the baseline is later
    'not measured',
  ]);
  expect(findings.claims[0]!.difference!.mean).toBeCloseTo(2, 12);
  // 3.6 after its 4 updates, the baseline 2 after two.
  expect(findings.claims[5]!.difference!.mean).toBeCloseTo(1.6, 12);
});

test('a table has the model before, means over seeds, and ratios to the baseline of the same seed', () => {
  const [before, base, better] = findings.rows;
  expect(before).toMatchObject({ label: 'before', cells: [{ mean: 10 }, { mean: 9 }, undefined, undefined] });
  expect(base).toMatchObject({ seeds: 3, cells: [{ mean: 14 }, { mean: 13 }, { mean: 1 }, { mean: 1 }] });
  expect(better!.cells[0]!.mean).toBeCloseTo(16, 12);
  expect(better!.cells[2]!.mean).toBe(0.5);
  expect(better!.cells[3]!.mean).toBe(0.5);
  expect(findings.rows.at(-1)).toMatchObject({ seeds: 0, cells: [undefined, undefined, undefined, undefined] });
});

test('curves are means in the range of the seeds', () => {
  const [flops, spread] = findings.figures;
  expect(flops!.curves.map(({ label }) => label)).toEqual(['<base>', '<better>', '<same>', '<cheap>']);
  expect(flops!.curves[0]!.x).toEqual([0, 4e-9, 8e-9]);
  expect(flops!.curves[0]!.y).toEqual([10, 12, 14]);
  expect(spread!.curves[0]).toMatchObject({ low: [0, 0, 0, 0], y: [1, 1, 1, 1], high: [2, 2, 2, 2] });
});

test('a report shows every row and claim, and what did not hold as plainly as what did', () => {
  const found = { trained: [findings], clustering: [], facts: [['winnow', '1|2']] as const };
  const text = markdownOf(found);
  expect(text).toContain(
    '**Held, in miniature**\n\n- better > base. +2.000 (+1.901 to +2.099)\n- same > base. +0.000 (-0.099 to +0.099)\n- cheap > base. +1.600',
  );
  expect(text).toContain('**Open: the interval includes what decides**\n\n- same > base. +0.000');
  expect(text).toContain('**Failed**\n\n- base > better. -2.000');
  expect(text).toContain('**Not measured**\n\n- absent > base.\n');
  expect(text).toContain('| winnow | 1\\|2 |');
  expect(text).toContain('| <better> | 3 | 16.000 ± 0.099 |');
  expect(text).toContain('![A & B](made_flops.svg)');
  const page = pageOf(found);
  expect(page).toContain('<h3>Failed</h3>\n<ul><li>base &gt; better. -2.000');
  expect(page).toContain('About &lt;it&gt;.');
  expect(page.match(/<svg/g)).toHaveLength(2);
  expect(page).not.toMatch(/<script|\son\w+="|(?:src|href)=/);
});

test('values between evaluations are in proportion, and none are made up outside', () => {
  const { evaluations } = runOf('a', 0, 1, 2);
  const at = (flops: number) =>
    interpolate(
      evaluations,
      (point) => point.flops,
      flops,
      (point) => point.scores[reward]?.heldOut,
    );
  expect(at(0)).toEqual([0, 10, 20]);
  expect(at(1)).toEqual([0.5, 10.5, 20.5]);
  expect(at(8)).toEqual([4, 14, 24]);
  expect(at(8.1)).toBeUndefined();
});

test('pictures are means of their captions, of two sets in turn', () => {
  const values = Array.from({ length: 4 * captionsOfSet }, (_, i) => i);
  const { heldOut, training } = captionMeans(values);
  expect(heldOut).toHaveLength(captionsOfSet);
  expect([heldOut[0], training[0], heldOut[1]]).toEqual([captionsOfSet, captionsOfSet + 1, captionsOfSet + 2]);
});

test('shares near the mean: of a normal distribution, of a cluster, and none without spread', () => {
  const { half, one, spread } = normalShares(24, 12);
  // Of a whole normal distribution 0.3829 and 0.6827; of groups of 24, by their own moments, a little less.
  expect(half.mean).toBeGreaterThan(0.36);
  expect(half.mean).toBeLessThan(0.3829);
  expect(one.mean).toBeGreaterThan(0.66);
  expect(one.mean).toBeLessThan(0.69);
  expect(spread.mean).toBe(1);
  const cluster = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, -4];
  const [full, uniform, ovf] = sharesOf([cluster, Array(12).fill(1)], 6);
  expect(full).toMatchObject({ set: 'full group', half: { mean: 10 / 12, count: 1 } });
  expect(uniform!.set).toBe('uniform half');
  expect(ovf!.half.mean).toBe(4 / 6);
  expect(ovf!.spread.mean).toBeGreaterThan(1);
});
