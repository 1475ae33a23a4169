/** The selections that inspect compares, and its histograms. */
import { expect, test } from 'vitest';
import { formatInspection } from '../../../grpo/cli/print/inspection.js';
import { compareSubsets, drawGroups } from '../../../grpo/finetune/inspect.js';
import { drawHistograms, histogramOf } from '../../../grpo/finetune/report/histogram.js';
import type { Session } from '../../../grpo/finetune/session.js';
import { testDevice } from '../../check.js';
import { brightness, loadTiny, tinyConfig, tinyPrompts } from '../tiny.js';

const rewards = [0, 1, 2, 3, 4, 5, 6, Number.NaN];

test('the half of largest variance has both ends; samples without a reward are in none', () => {
  const [full, uniform, ovf] = compareSubsets(rewards, 4, 1);
  expect(full).toMatchObject({ name: 'full group', samples: [0, 1, 2, 3, 4, 5, 6], mean: 3, std: 2 });
  expect(uniform!.samples.length).toBe(4);
  expect(ovf).toMatchObject({ name: 'OVF half', samples: [0, 1, 5, 6], mean: 3 });
  expect(ovf!.std).toBeCloseTo(Math.sqrt((9 + 4 + 4 + 9) / 4), 12);
  expect(compareSubsets(rewards, 2, 1)[2]!.name).toBe('OVF 2 of 8');
  expect(compareSubsets([1, Number.NaN], 1, 1).map(({ samples }) => samples)).toEqual([[0], [0], [0]]);
});

test('bins span the whole group, and every value is in one', () => {
  const rest = { title: 't', mean: 0, std: 0 };
  const { edges, counts } = histogramOf([0, 0.5, 12], { all: [0, 0.5, 3, 12, Number.NaN], ...rest });
  expect([edges[0], edges.at(-1), edges.length]).toEqual([0, 12, 13]);
  expect(counts).toEqual([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  const flat = histogramOf([2, 2], { all: [2, 2], ...rest });
  expect(flat.counts.reduce((sum, count) => sum + count, 0)).toBe(2);
});

test('text and picture show the same counts', () => {
  const subsets = compareSubsets(rewards, 4, 1);
  const histograms = subsets.map(({ name, samples, mean, std }) =>
    histogramOf(
      samples.map((i) => rewards[i]!),
      { all: rewards, title: name, mean, std },
    ),
  );
  const lines = formatInspection({ prompt: 'p', subsets, reward: 'r' }, histograms);
  expect(lines[0]).toBe('"p"   reward r');
  expect(lines.at(-1)).toMatch(/^spread +2\.0000 +[\d.]+ {2}\([\d.]+ x\) +2\.5495 {2}\(1\.27 x\)$/);
  expect(lines.length).toBe(2 + 12 + 2);
  const { width, height, rgb } = drawHistograms(histograms);
  const isOrange = (x: number, y: number): boolean => rgb[3 * (y * width + x) + 2] === 50;
  const orange = Array.from({ length: width }, (_, x) => x).filter((x) => isOrange(x, height - 40));
  const bars = orange.filter((x, i) => orange[i - 1] !== x - 1);
  expect(bars.length, 'one bar for each of the four kept').toBe(4);
  expect(Math.min(...bars)).toBeGreaterThanOrEqual((2 / 3) * width);
});

test('groups of several prompts are drawn one after the other, each as if it were alone', async () => {
  const model = await loadTiny(await testDevice(), 'sd3');
  const session = { config: tinyConfig(), model, rewards: brightness() } as unknown as Session; // all of it that is looked at
  const both = await drawGroups(session, { prompts: tinyPrompts, n: 3, seed: 1 });
  expect(both.map(({ rewards }) => rewards.length)).toEqual([3, 3]);
  expect(both[1]!.rewards).not.toEqual(both[0]!.rewards);
  expect(await drawGroups(session, { prompts: tinyPrompts.slice(0, 1), n: 3, seed: 1 })).toEqual(both.slice(0, 1));
  model.dispose();
});
