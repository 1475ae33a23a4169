/** Counts by simulating a group, and the paper's table 4 to its printed digits. */
import { describe, expect, test } from 'vitest';
import { formatTable4 } from '../../bench/cost.js';
import type { Prune } from '../../grpo/config.js';
import { fullGroup, type GroupPlan, groupCalls, groupCost, groupPlanOf, paperCosts, table4 } from '../../grpo/cost.js';
import { stagesOf } from '../../grpo/rollout/stages.js';
import { readRecorded } from '../recorded_fixture.js';
import { type TinyChanges, tinyConfig } from './tiny.js';

const fixture = readRecorded<{ readonly rows: readonly { name: string; total: string; calls: number }[] }>(
  'grpo/table4',
);
const { rows } = fixture.value;

/** The keys of a group, and how many steps of it are trained. */
interface Keys {
  readonly steps: number;
  readonly keep: readonly number[];
  readonly prune_at: readonly number[];
  readonly prune: Prune;
  readonly trainedSteps: number;
}

const planOf = ({ steps, trainedSteps, ...grpo }: Keys): GroupPlan => ({
  steps,
  stages: stagesOf({ sampler: { steps }, grpo }),
  trainedSteps,
});

const flashKeys: Keys = { steps: 10, keep: [24, 16, 12], prune_at: [5, 7], prune: 'ovf', trainedSteps: 9 };
const flash = planOf(flashKeys);

/** A group that is sampled step by step. */
function simulate({ steps, keep, prune_at, prune }: Keys): { network: number; previews: number; finals: number } {
  let [alive, network, previews] = [keep[0]!, 0, 0];
  for (let step = 0; step < steps; step++) {
    network += alive;
    const selection = prune_at.indexOf(step);
    if (selection < 0) continue;
    if (prune !== 'uniform') previews += alive;
    alive = keep[selection + 1]!;
  }
  return { network, previews, finals: alive };
}

describe('calls of a group', () => {
  const groups: readonly Keys[] = [
    flashKeys,
    { ...flashKeys, keep: [48, 24, 12] },
    { ...flashKeys, prune: 'uniform' },
    { ...flashKeys, prune_at: [0, 9] },
    { steps: 50, keep: [48, 32, 8], prune_at: [30, 40], prune: 'ovf', trainedSteps: 49 },
    { steps: 50, keep: [16], prune_at: [], prune: 'none', trainedSteps: 49 },
    { ...flashKeys, keep: [24, 12], prune_at: [], prune: 'ovf-after' },
    { ...flashKeys, keep: [24, 8], prune_at: [], prune: 'best-of-n' },
    { ...flashKeys, keep: [24, 16, 12], prune_at: [5], prune: 'uniform' },
  ];
  for (const keys of groups) {
    test(`${keys.prune} ${keys.keep.join(' -> ')} at ${keys.prune_at.join(', ') || 'the end'} of ${keys.steps}`, () => {
      const calls = groupCalls(planOf(keys));
      expect(calls).toMatchObject(simulate(keys));
      expect(calls.survivors).toBe(keys.keep.at(-1));
      expect(calls.trained).toBe(keys.keep.at(-1)! * keys.trainedSteps);
    });
  }

  test('with an SDE window only its steps are trained, at whatever place; calls and decodes are those of the whole path', () => {
    const [keep, prune_at] = [[...flashKeys.keep], [...flashKeys.prune_at]];
    const countOf = (window: Partial<NonNullable<TinyChanges['sampler']>['window']>, fraction = 1) =>
      groupCalls(
        groupPlanOf(
          tinyConfig({
            sampler: { steps: 10, window: { size: 2, place: 'fixed', every: 25, ...window } },
            grpo: { keep, prune_at, timestep_fraction: fraction },
          }),
        ),
      );
    const whole = groupCalls(flash);
    for (const place of ['fixed', 'random', 'moving'] as const)
      expect(countOf({ place })).toEqual({ ...whole, trained: 12 * 2 });
    expect(countOf({ size: 4 }, 0.6).trained).toBe(12 * 2); // a fraction is one of the window
    expect(countOf({ size: 9 })).toEqual(whole);
  });

  test("the paper's three methods make 240, 360 and 200", () => {
    expect(table4().map(({ calls }) => calls.network)).toEqual(rows.map(({ calls }) => calls));
    expect(groupCalls(flash).network).toBe(200);
    expect(groupCalls(fullGroup(flash))).toEqual({
      network: 240,
      previews: 0,
      finals: 24,
      survivors: 24,
      trained: 216,
    });
  });
});

describe('table 4', () => {
  test('every total has the printed digits', () => {
    expect(table4().map(({ name, total }) => ({ name, total: total.toFixed(2) }))).toEqual(
      rows.map(({ name, total }) => ({ name, total })),
    );
    expect(formatTable4().agrees).toBe(true);
    expect(formatTable4({ ...paperCosts, decode: 2.83 }).agrees).toBe(false);
  });

  test('the printed speed-ups are 1 + saving, the true ratios are larger', () => {
    const [, standard, fast] = table4();
    expect([standard!.printedRatio.toFixed(2), fast!.printedRatio.toFixed(2)]).toEqual(['1.26', '1.41']);
    expect([standard!.ratio.toFixed(3), fast!.ratio.toFixed(3)]).toEqual(['1.351', '1.696']);
  });

  test('without a reference policy a trained step is three calls', () => {
    const costs = { network: 2, decode: 10 };
    expect(groupCost(flash, costs, false)).toEqual({ sampling: 400, decoding: 520, training: 648, total: 1568 });
    expect(groupCost(flash, costs, true).training).toBe(864);
  });

  test('a forward row is half as dear where guidance doubles the calls of sampling, and a call dearer where predictions are kept', () => {
    const costs = { network: 2, decode: 10 };
    const rows = (changes: TinyChanges): number => {
      const config = tinyConfig({ sampler: changes.sampler, grpo: { loss: 'nft', ...changes.grpo } });
      return groupCost(groupPlanOf(config), costs, config.grpo.kl > 0).training;
    };
    expect(rows({})).toBe(3 * 3 * 3 * 2); // survivors, rows of each, calls, and their cost
    expect(rows({ grpo: { forward_rows: 5 } })).toBe(3 * 5 * 3 * 2);
    expect(rows({ sampler: { guidance: 4 } })).toBe(3 * 3 * 3);
    expect(rows({ grpo: { kl: 0.1, kl_form: 'velocity' } })).toBe(3 * 3 * 4 * 2);
    expect(rows({ sampler: { guidance: 0 }, grpo: { kl: 1, updates_per_rollout: 4 } })).toBe(3 * 3 * 5);
    const full = groupCalls(fullGroup(groupPlanOf(tinyConfig({ grpo: { loss: 'awm' } }))));
    expect(full).toEqual({ network: 30, previews: 0, finals: 6, survivors: 6, trained: 18 });
  });
});

fixture.done();
