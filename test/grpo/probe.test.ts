/** Probes: rank correlation and kept variance against counted examples, and probes beside the training of tiny models. */
import { describe, expect, test } from 'vitest';
import { drawProbe, type ProbeReport, probeStages, rankCorrelation, varianceShare } from '../../grpo/probe.js';
import { CombinedReward } from '../../grpo/rewards/reward.js';
import { stagesOf } from '../../grpo/rollout/stages.js';
import { Trainer } from '../../grpo/trainer.js';
import type { UpdateReport } from '../../grpo/update_report.js';
import { testDevice } from '../check.js';
import { bitsOf, brightness, loadTiny, type TinyChanges, tinyConfig, tinyPrompts } from './tiny.js';

const device = await testDevice();

describe('rank correlation', () => {
  test('is that of the ranks, with mean ranks for ties', () => {
    expect(rankCorrelation([1, 2, 3, 4], [1, 10, 100, 1000])).toBeCloseTo(1, 12);
    expect(rankCorrelation([1, 2, 3, 4], [5, 4, 3, -2])).toBeCloseTo(-1, 12);
    // scipy.stats.spearmanr([1, 2, 2, 3, 5], [2, 1, 4, 4, 3])
    expect(rankCorrelation([1, 2, 2, 3, 5], [2, 1, 4, 4, 3])).toBeCloseTo(0.3947368421052632, 12);
  });

  test('leaves lost samples out, and is no number where a side says nothing', () => {
    expect(rankCorrelation([1, Number.NaN, 2, 3], [3, 9, Number.NaN, 4])).toBeCloseTo(1, 12);
    for (const [a, b] of [
      [
        [1, 1, 1],
        [1, 2, 3],
      ],
      [
        [1, 2, 3],
        [4, 4, 4],
      ],
      [[1], [1]],
      [[], []],
    ])
      expect(rankCorrelation(a!, b!)).toBeNaN();
  });
});

test('kept variance is relative to the best subset of as many', () => {
  expect(varianceShare([0, 1, 2, 10], [0, 3])).toBe(1);
  expect(varianceShare([0, 1, 2, 10], [0, 2])).toBeCloseTo(1 / 25, 12); // variances 1 and 25
  expect(varianceShare([0, Number.NaN, 2, 10], [0, 1, 2])).toBeCloseTo(1 / 25, 12);
  expect(varianceShare([3, 3, 3], [0, 1])).toBeNaN();
});

test('a probe scores everybody where the run selects, and nobody leaves', () => {
  const stages = stagesOf({ sampler: { steps: 5 }, grpo: { keep: [6, 4, 3, 2], prune_at: [2, 3], prune: 'uniform' } });
  expect(probeStages(stages)).toEqual([
    { size: 6, from: 0, to: 3, scored: 'previews', selection: { rule: 'uniform', count: 6, step: 2 } },
    { size: 6, from: 3, to: 4, scored: 'previews', selection: { rule: 'uniform', count: 6, step: 3 } },
    { size: 6, from: 4, to: 5, scored: 'finals' },
  ]);
});

const redness = {
  name: 'redness',
  score: async (images: readonly { rgb: Uint8Array }[]) => images.map(({ rgb }) => rgb[0]! - rgb[1]!),
};
const both = new CombinedReward([...brightness().rewards, { weight: 0.5, reward: redness }], { combine: 'normalised' });
const cases: Readonly<Record<string, readonly [string, TinyChanges, CombinedReward]>> = {
  'by previews': ['sd3', {}, brightness()],
  'by rewards that are normalised in their group, under guidance': [
    'sd1',
    { sampler: { noise: 1, guidance: 2 } },
    both,
  ],
  'at random, at the end too': ['sd3', { grpo: { keep: [6, 4, 3, 2], prune: 'uniform' } }, brightness()],
};

/** Two updates of a fresh model, the second with a probe before it. */
async function train(
  [name, changes, reward]: (typeof cases)[string],
  probed: boolean,
): Promise<{ probe: ProbeReport | undefined; second: UpdateReport; bits: number[][] }> {
  const config = tinyConfig(changes);
  const model = await loadTiny(device, name);
  const trainer = await Trainer.create(model, reward, config);
  await trainer.update(tinyPrompts);
  const before = device.memory();
  const probe = probed ? await drawProbe(model, reward, config, { prompt: tinyPrompts[0]!, update: 1 }) : undefined;
  const memory = device.memory();
  expect([memory.liveBytes, memory.plannedBytes]).toEqual([before.liveBytes, before.plannedBytes]);
  const second = await trainer.update(tinyPrompts);
  const bits = await bitsOf(model.trainable.values());
  trainer.dispose();
  model.dispose();
  return { probe, second, bits };
}

describe('a probe tells of the very group that the run draws, and changes nothing', () => {
  for (const [selected, given] of Object.entries(cases)) {
    test(`selected ${selected}`, async () => {
      const { probe, second, bits } = await train(given, true);
      const alone = await train(given, false);
      expect(bits).toEqual(alone.bits);
      const told = (report: UpdateReport) =>
        JSON.stringify(report, (key, value) => (key === 'seconds' ? undefined : value));
      expect(told(second)).toBe(told(alone.second));

      const { steps, previews, finals, kept, spearman, varianceKept } = probe!;
      const group = second.groups[0]!;
      expect(steps).toEqual([2, 3]);
      expect(previews.map((each) => each.length)).toEqual([6, 6]);
      expect(kept).toEqual(group.survivors.map(({ sample }) => sample));
      if (given[2] !== both) {
        for (const { step, samples, rewards } of group.selections.filter((each) => each.rewards && each.step < 5))
          expect(samples.map((sample) => previews[steps.indexOf(step)]![sample])).toEqual(rewards);
        for (const { sample, reward } of group.survivors) expect(finals[sample]).toBe(reward);
      }
      expect(spearman).toEqual(previews.map((each) => rankCorrelation(each, finals)));
      expect(varianceKept).toBe(varianceShare(finals, kept));
      expect(varianceKept).toBeLessThanOrEqual(1 + 1e-12);
    });
  }

  test('a probe that is ended frees what it had', async () => {
    const model = await loadTiny(device, 'sd3');
    const before = device.memory();
    const given = { prompt: tinyPrompts[0]!, update: 0, signal: AbortSignal.abort(new Error('enough')) };
    await expect(drawProbe(model, brightness(), tinyConfig(), given)).rejects.toThrow('enough');
    const memory = device.memory();
    expect([memory.liveBytes, memory.plannedBytes]).toEqual([before.liveBytes, before.plannedBytes]);
    model.dispose();
  });
});
