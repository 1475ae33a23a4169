import { describe, expect, test } from 'vitest';
import { groupsInTurn, samplesAtOnce, slotsOf, stagesOf } from '../../../grpo/rollout/stages.js';
import { flowMatchSchedule } from '../../../grpo/sampling/schedule.js';
import { transitionsOf } from '../../../grpo/sampling/transitions.js';

test('the stages of a group', () => {
  const transitions = transitionsOf({ kind: 'flow', levels: flowMatchSchedule(10, 3) }, { noise: 0.7 });
  const stages = (keep: number[], pruneAt: number[], prune: 'ovf' | 'ovf-after' | 'uniform' | 'none') =>
    stagesOf({ transitions, keep, pruneAt, prune });
  expect(stages([24, 16, 12], [5, 7], 'ovf')).toEqual({ sizes: [24, 16, 12], after: undefined });
  expect(stages([24, 12], [], 'ovf-after')).toEqual({ sizes: [24], after: 12 });
  expect(stages([24, 12], [], 'uniform')).toEqual({ sizes: [24], after: 12 });
  expect(stages([24], [], 'none')).toEqual({ sizes: [24], after: undefined });
  expect(() => stages([24, 12], [], 'ovf')).toThrow('pruning by ovf at steps [] does not go with [24,12] samples');
  expect(() => stages([24, 12], [10], 'ovf')).toThrow('expected rising steps below 10 to prune at, found [10]');
});

describe('groups drawn together', () => {
  const keep = [24, 16, 12];
  const small = { latentShape: [4, 8, 8], keep } as const;
  const large = { latentShape: [16, 64, 64], keep } as const;

  test('are those of small latents, and one group at a time of large ones', () => {
    expect(samplesAtOnce(small)).toBe(256);
    expect([4, 8, 11].map((groups) => groupsInTurn(groups, small))).toEqual([[4], [8], [5, 6]]);
    expect(samplesAtOnce(large)).toBe(24);
    expect(groupsInTurn(3, large)).toEqual([1, 1, 1]);
  });

  test('are as many as the batch that a run asks for holds, evenly', () => {
    expect(groupsInTurn(5, { ...small, batch: 12 })).toEqual([1, 1, 1, 1, 1]);
    expect(groupsInTurn(5, { ...small, batch: 60 })).toEqual([1, 2, 2]);
    expect(groupsInTurn(3, { ...large, batch: 72 })).toEqual([3]);
    for (let groups = 1; groups < 20; groups++) {
      for (let most = 1; most < 22; most++) {
        const turns = groupsInTurn(groups, { ...small, batch: 24 * most + 23 });
        expect(turns.reduce((sum, together) => sum + together, 0)).toBe(groups);
        expect(turns.length).toBe(Math.ceil(groups / most));
        expect(Math.max(...turns) - Math.min(...turns)).toBeLessThanOrEqual(1);
      }
    }
  });

  test('need slots for their survivors, and for what is drawn at one time besides', () => {
    expect(slotsOf(4, large)).toBe(4 * 12 + 12);
    expect(slotsOf(4, small)).toBe(4 * 24);
    expect(slotsOf(5, { ...small, batch: 60 })).toBe(5 * 12 + 2 * 12);
    expect(slotsOf(2, { ...small, keep: [24] })).toBe(2 * 24);
  });
});
