import { describe, expect, test } from 'vitest';
import { stagesOf, wholeGroup } from '../../../grpo/rollout/stages.js';
import { groupsInTurn, samplesAtOnce, slotsOf } from '../../../grpo/rollout/turns.js';

describe('groups drawn together', () => {
  const sampler = { steps: 10 };
  const stages = stagesOf({ sampler, grpo: { keep: [24, 16, 12], prune_at: [5, 7], prune: 'ovf' } });
  const small = { latentShape: [4, 8, 8], stages } as const;
  const large = { latentShape: [16, 64, 64], stages } as const;

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
    const after = stagesOf({ sampler, grpo: { keep: [24, 12], prune_at: [], prune: 'ovf-after' } });
    expect(slotsOf(4, { ...large, stages: after })).toBe(4 * 12 + 12);
    expect(slotsOf(2, { ...small, stages: stagesOf({ sampler, grpo: wholeGroup(24) }) })).toBe(2 * 24);
  });
});
