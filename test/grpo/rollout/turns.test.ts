import { describe, expect, test } from 'vitest';
import { stagesOf, wholeGroup } from '../../../grpo/rollout/stages.js';
import { groupsInTurn, inFlight, parkedSamples, samplesAtOnce, slotsOf } from '../../../grpo/rollout/turns.js';

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

  test('are fewer where fewer were planned, in as many turns as that takes', () => {
    const size = { ...large, batch: 4 * 24 };
    expect(groupsInTurn(4, size)).toEqual([4]);
    expect(groupsInTurn(4, size, Math.max(...groupsInTurn(5, size)))).toEqual([2, 2]);
  });
});

describe('turns in flight', () => {
  const sampler = { steps: 10 };
  const stages = stagesOf({ sampler, grpo: { keep: [24, 16, 12], prune_at: [5, 7], prune: 'ovf' } });
  const large = { latentShape: [16, 64, 64], stages } as const;

  test('are as many as may wait and the one that is drawn, and never more than there are', () => {
    expect([0, 1, 2, 5, 99].map((ahead) => inFlight(6, { ...large, ahead }).turns)).toEqual([1, 2, 3, 6, 6]);
    expect(inFlight(6, large)).toEqual({ turns: 1, together: 1 });
  });

  test('wait whole: no more groups do than are allowed', () => {
    const pairs = { ...large, batch: 48 };
    expect([0, 1, 2, 3, 4].map((ahead) => inFlight(9, { ...pairs, ahead }).turns)).toEqual([1, 1, 2, 2, 3]);
    for (let groups = 1; groups < 20; groups++) {
      for (let ahead = 0; ahead < 9; ahead++) {
        const size = { ...large, batch: 24 * (1 + (groups % 4)), ahead };
        const { turns, together } = inFlight(groups, size);
        expect((turns - 1) * together).toBeLessThanOrEqual(ahead);
        expect(slotsOf(groups, size)).toBe(12 * groups + 12 * Math.min(groups, turns * together));
        expect(parkedSamples(groups, size)).toBe(turns > 1 ? 24 * turns * together : 0);
      }
    }
  });

  test('park nothing where previews are not scored', () => {
    const after = stagesOf({ sampler, grpo: { keep: [24, 12], prune_at: [], prune: 'ovf-after' } });
    const uniform = stagesOf({ sampler, grpo: { keep: [24, 12], prune_at: [5], prune: 'uniform' } });
    for (const given of [after, uniform]) {
      const size = { ...large, stages: given, ahead: 2 };
      expect([inFlight(6, size).turns, parkedSamples(6, size)]).toEqual([3, 0]);
    }
  });
});
