import { expect, test } from 'vitest';
import { Group, type GroupScores, sampleKeys } from '../../../grpo/rollout/group.js';
import type { StageSelection } from '../../../grpo/rollout/stages.js';

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

const prompt = { prompt: 'a cat', meta: {} };
const seconds = { sample: 1, reward: 2 };
const lost = Number.NaN;
const scoresOf = (rewards: readonly number[]): GroupScores => ({ rewards, byReward: {} });
const groupOf = (size: number): Group =>
  new Group(
    prompt,
    { update: 0, group: 2 },
    Array.from({ length: size }, (_, i) => 10 + i),
    1,
  );

test('a group tells who goes on, whose slots are free, and what became of those that are left', () => {
  const group = new Group(prompt, { update: 0, group: 2 }, [7, 3, 5, 9], 1);
  group.countCall();
  expect(group.select({ rule: 'ovf', count: 2, step: 1 }, scoresOf([0, 5, 1, 4]))).toEqual({
    places: [0, 1],
    freed: [5, 9],
  });
  expect([group.alive, group.slots]).toEqual([
    [0, 1],
    [7, 3],
  ]);
  group.countCall();
  const finals = { rewards: [lost, 4], byReward: { mine: [0, 4] } };
  expect(group.finish(finals, { rule: 'ovf', count: 1, step: 2 }, seconds)).toEqual({
    result: {
      prompt,
      selections: [
        { step: 1, samples: [0, 1, 2, 3], rewards: [0, 5, 1, 4], kept: [0, 1] },
        { step: 2, samples: [0, 1], rewards: [lost, 4], kept: [1] },
      ],
      survivors: [{ sample: 1, slot: 3, reward: 4 }],
      lost: [],
      finals: finals.rewards,
      byReward: finals.byReward,
      first: [0, 5, 1, 4],
      baseline: [4],
      calls: 6,
      decodes: 6,
      seconds,
    },
    freed: [7],
  });
});

test('lost samples are drawn on only where the others do not suffice', () => {
  const rewards = [lost, 0.1, lost, 0.9, lost, 0.5];
  const placesOf = (count: number, scores = scoresOf(rewards)): number[] =>
    groupOf(scores.rewards.length).select({ rule: 'ovf', count, step: 1 }, scores).places;
  expect(placesOf(2)).toEqual([1, 3]);
  expect(placesOf(3)).toEqual([1, 3, 5]);
  expect(placesOf(4)).toEqual([0, 1, 3, 5]);
  expect(placesOf(2, scoresOf([lost, lost, lost]))).toEqual([0, 1]);
});

test('lost samples do not survive, and are told apart from those that were not selected', () => {
  const finish = (rewards: number[], selection?: StageSelection) =>
    groupOf(rewards.length).finish(scoresOf(rewards), selection, seconds);
  const whole = finish([3, lost, 1]);
  expect(whole.result).toMatchObject({ lost: [1], selections: [], first: [3, 1], baseline: [3, 1] });
  expect(whole.result.survivors.map(({ sample, reward }) => [sample, reward])).toEqual([
    [0, 3],
    [2, 1],
  ]);
  expect(whole.freed).toEqual([11]);
  for (const rule of ['ovf', 'extremes', 'uniform'] as const) {
    const { result, freed } = finish([lost, 2, lost, 1], { rule, count: 3, step: 5 });
    expect(result.survivors.map(({ sample }) => sample)).toEqual([1, 3]);
    expect(result).toMatchObject({ lost: [0], baseline: [2, 1] });
    expect(result.selections).toEqual([
      { step: 5, samples: [0, 1, 2, 3], rewards: [lost, 2, lost, 1], kept: [0, 1, 3] },
    ]);
    expect(freed).toEqual([10, 12]);
  }
  expect(finish([lost, lost]).result).toMatchObject({ survivors: [], lost: [0, 1], first: [], baseline: [] });
});

test('best of n keeps as many of the lowest as of the highest, and compares them with all', () => {
  const { result } = groupOf(6).finish(
    scoresOf([5, 1, 4, 0, lost, 2]),
    { rule: 'extremes', count: 4, step: 9 },
    seconds,
  );
  expect(result.survivors.map(({ sample, reward }) => [sample, reward])).toEqual([
    [0, 5],
    [1, 1],
    [2, 4],
    [3, 0],
  ]);
  expect(result.baseline).toEqual([5, 1, 4, 0, 2]);
  expect(result.lost).toEqual([]);
});
