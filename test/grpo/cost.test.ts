/** Counts by simulating a group, and the paper's table 4 to its printed digits. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { formatTable4 } from '../../bench/cost.js';
import { fullGroup, type GroupPlan, groupCalls, groupCost, paperCosts, table4 } from '../../grpo/cost.js';

const fixture = new URL('../fixtures/grpo/table4.json', import.meta.url);
const { rows } = JSON.parse(readFileSync(fixture, 'utf8')) as {
  rows: { name: string; total: string; calls: number }[];
};

const flash: GroupPlan = { steps: 10, keep: [24, 16, 12], pruneAt: [5, 7], prune: 'ovf', trainedSteps: 9 };

/** A group that is sampled step by step. */
function simulate({ steps, keep, pruneAt, prune }: GroupPlan): { network: number; previews: number; finals: number } {
  let [alive, network, previews] = [keep[0]!, 0, 0];
  for (let step = 0; step < steps; step++) {
    network += alive;
    const checkpoint = pruneAt.indexOf(step);
    if (checkpoint < 0) continue;
    if (prune !== 'uniform') previews += alive;
    alive = keep[checkpoint + 1]!;
  }
  return { network, previews, finals: alive };
}

describe('calls of a group', () => {
  const plans: readonly GroupPlan[] = [
    flash,
    { ...flash, keep: [48, 24, 12] },
    { ...flash, prune: 'uniform' },
    { ...flash, pruneAt: [0, 9] },
    { steps: 50, keep: [48, 32, 8], pruneAt: [30, 40], prune: 'ovf', trainedSteps: 49 },
    { steps: 50, keep: [16], pruneAt: [], prune: 'none', trainedSteps: 49 },
    { ...flash, keep: [24, 12], pruneAt: [], prune: 'ovf-after' },
    { ...flash, keep: [24, 16, 12], pruneAt: [5], prune: 'uniform' },
  ];
  for (const plan of plans) {
    test(`${plan.prune} ${plan.keep.join(' -> ')} at ${plan.pruneAt.join(', ') || 'the end'} of ${plan.steps}`, () => {
      expect(groupCalls(plan)).toMatchObject(simulate(plan));
      expect(groupCalls(plan).survivors).toBe(plan.keep.at(-1));
      expect(groupCalls(plan).trained).toBe(plan.keep.at(-1)! * plan.trainedSteps);
    });
  }

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

  test('checkpoints that do not fit the counts are refused', () => {
    expect(() => groupCalls({ ...flash, pruneAt: [] })).toThrow(
      'cost: 0 checkpoints need 1 counts (or one more, for a selection at the end), found 3',
    );
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
});
