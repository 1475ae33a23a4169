import { expect, test } from 'vitest';
import { Group, sampleKeys } from '../../../grpo/rollout/group.js';

test('a hundred thousand samples have keys of their own', () => {
  const samples = [...Array(48).keys()];
  const seen = new Set<bigint>();
  for (let update = 0; update < 50; update++) {
    for (let group = 0; group < 48; group++) {
      const keys = sampleKeys(5, { update, group }, samples);
      for (const i of samples) seen.add(BigInt(keys[2 * i]!) * 2n ** 32n + BigInt(keys[2 * i + 1]!));
    }
  }
  expect(seen.size).toBe(50 * 48 * 48);
});

test('a group tells who goes on, whose slots are free, and what became of those that are left', () => {
  const prompt = { prompt: 'a cat', meta: {} };
  const group = new Group(prompt, { update: 0, group: 2 }, [7, 3, 5, 9], { prune: 'ovf', seed: 1 });
  group.countCall();
  group.countDecode();
  expect(group.select(1, 2, [0, 5, 1, 4])).toEqual({ places: [0, 1], freed: [5, 9] });
  expect([group.alive, group.slots]).toEqual([
    [0, 1],
    [7, 3],
  ]);
  group.countCall();
  group.countDecode();
  const drawn = group.alive;
  expect(group.select(2, 1, [Number.NaN, 4])).toEqual({ places: [1], freed: [7] });
  const seconds = { sample: 1, reward: 2 };
  const finals = { total: [Number.NaN, 4], parts: { mine: [0, 4] } };
  expect(group.result(finals, drawn, seconds)).toEqual({
    prompt,
    selections: [
      { step: 1, samples: [0, 1, 2, 3], rewards: [0, 5, 1, 4], kept: [0, 1] },
      { step: 2, samples: [0, 1], rewards: [Number.NaN, 4], kept: [1] },
    ],
    survivors: [{ sample: 1, slot: 3, reward: 4 }],
    finals: finals.total,
    parts: finals.parts,
    calls: 6,
    decodes: 6,
    seconds,
  });
});
