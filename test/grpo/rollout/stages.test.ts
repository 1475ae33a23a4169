import { describe, expect, test } from 'vitest';
import type { Prune } from '../../../grpo/config.js';
import {
  pruneSteps,
  type Stage,
  sizesOf,
  stageProblems,
  stagesOf,
  survivorsOf,
  wholeGroup,
} from '../../../grpo/rollout/stages.js';

const sampler = { steps: 10 };
const stages = (keep: number[], prune_at: number[], prune: Prune): Stage[] =>
  stagesOf({ sampler, grpo: { keep, prune_at, prune } });
const end = { from: 0, to: 10, scored: 'finals' } as const;

describe('the stages of a group', () => {
  test('end where their samples have had the call of the step that only the selected take', () => {
    const found = stages([24, 16, 12], [5, 7], 'ovf');
    expect(found).toEqual([
      { size: 24, from: 0, to: 6, scored: 'previews', selection: { rule: 'ovf', count: 16, step: 5 } },
      { size: 16, from: 6, to: 8, scored: 'previews', selection: { rule: 'ovf', count: 12, step: 7 } },
      { size: 12, from: 8, to: 10, scored: 'finals' },
    ]);
    expect([sizesOf(found), pruneSteps(found), survivorsOf(found)]).toEqual([[24, 16, 12], [5, 7], 12]);
    expect(stages([3, 2], [9], 'ovf').map(({ from, to }) => [from, to])).toEqual([
      [0, 10],
      [10, 10],
    ]);
  });

  test('random selections look at no previews, and may come last', () => {
    const found = stages([24, 16, 12], [5], 'uniform');
    expect(found).toEqual([
      { size: 24, from: 0, to: 6, scored: 'nothing', selection: { rule: 'uniform', count: 16, step: 5 } },
      { size: 16, from: 6, to: 10, scored: 'finals', selection: { rule: 'uniform', count: 12, step: 10 } },
    ]);
    expect([sizesOf(found), pruneSteps(found), survivorsOf(found)]).toEqual([[24, 16, 12], [5], 12]);
  });

  test('selections by final rewards leave one stage, and a group that nobody thins has one', () => {
    const selected = (rule: 'ovf' | 'extremes' | 'uniform') => [
      { size: 24, ...end, selection: { rule, count: 12, step: 10 } },
    ];
    expect(stages([24, 12], [], 'ovf-after')).toEqual(selected('ovf'));
    expect(stages([24, 12], [], 'best-of-n')).toEqual(selected('extremes'));
    expect(stages([24, 12], [], 'uniform')).toEqual(selected('uniform'));
    expect(stages([24], [], 'none')).toEqual([{ size: 24, ...end }]);
    expect(stagesOf({ sampler, grpo: wholeGroup(24) })).toEqual([{ size: 24, ...end }]);
    expect(sizesOf(stages([24], [], 'none'))).toEqual([24]);
  });
});

describe('contradictions', () => {
  test('every one is found, and thrown with the others', () => {
    const grpo = { keep: [12, 12], prune_at: [7, 12], prune: 'ovf' as const };
    const messages = [
      ['grpo.keep', 'expected falling counts, found [12, 12]'],
      ['grpo.prune_at', 'expected steps below sampler.steps (0 to 9), found [7, 12]'],
      ['grpo.prune_at', '2 selections need 3 counts in grpo.keep (start, then one each); found 2'],
    ];
    expect(stageProblems({ sampler, grpo }).map(({ key, message }) => [key, message])).toEqual(messages);
    expect(() => stagesOf({ sampler, grpo })).toThrow(messages.map((each) => each.join(': ')).join('; '));
    expect(stageProblems({ sampler, grpo: wholeGroup(3) })).toEqual([]);
  });

  const refused: [keep: number[], at: number[], Prune, message: string][] = [
    [[], [], 'none', 'grpo.keep: expected the size of the group, found an empty list'],
    [[4, 2.5], [3], 'ovf', 'grpo.keep: expected falling counts, found [4, 2.5]'],
    [[4, 0], [3], 'ovf', 'grpo.keep: expected falling counts, found [4, 0]'],
    [[4, 2], [-1], 'ovf', 'grpo.prune_at: expected rising steps, found [-1]'],
    [[24, 12], [], 'ovf', 'grpo.prune_at: 0 selections need 1 counts in grpo.keep (start, then one each); found 2'],
    [[24, 12], [5], 'none', 'grpo.prune_at: prune: none has no selections: expected [], found [5]'],
    [[24, 12], [5], 'ovf-after', 'prune: ovf-after selects by final rewards: expected [], found [5]'],
    [[24, 12], [5], 'best-of-n', 'prune: best-of-n selects by final rewards: expected [], found [5]'],
    [[24], [], 'best-of-n', 'grpo.keep: prune: best-of-n needs two counts (drawn, then kept), found [24]'],
    [
      [24, 7],
      [],
      'best-of-n',
      'as many of the lowest as of the highest rewards: expected an even count last, found [24, 7]',
    ],
  ];
  for (const [keep, at, prune, message] of refused)
    test(`${prune} with [${keep}] at [${at}]`, () => expect(() => stages(keep, at, prune)).toThrow(message));
});
