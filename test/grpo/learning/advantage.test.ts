/** Advantages against the published trainers' own (test/fixtures/grpo/advantages.json), and the guards. */
import { describe, expect, test } from 'vitest';
import { groupAdvantages, momentsOf, standardise } from '../../../grpo/learning/advantage.js';
import { extremes } from '../../../grpo/rollout/variance_filter.js';
import { readRecorded } from '../../recorded_fixture.js';

interface Case {
  readonly name: string;
  readonly kind: string;
  // Arguments differ by kind; each check below says what it reads.
  // biome-ignore lint/suspicious/noExplicitAny: a fixture, whose kinds are told apart by name alone
  readonly args: any;
  readonly advantages?: readonly (number | readonly number[])[];
  readonly advantages_f64?: readonly number[];
  readonly avg?: readonly number[];
  readonly selected_sorted?: readonly number[];
  readonly updates?: readonly { prompts: string[]; rewards: number[]; advantages: number[] }[];
  readonly tol: { readonly abs?: number; readonly exact?: boolean };
}

const fixture = readRecorded<{ readonly cases: readonly Case[] }>('grpo/advantages');
const { cases } = fixture.value;
const unclamped = { advantage_max: Number.MAX_VALUE };

function expectNear(actual: readonly number[], expected: readonly number[], allowed: number): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of expected.entries())
    expect(Math.abs(actual[i]! - value), `[${i}] ${actual[i]}, not ${value}`).toBeLessThanOrEqual(allowed);
}

/** Groups of consecutive rewards. */
const split = (rewards: readonly number[], size: number): number[][] =>
  Array.from({ length: rewards.length / size }, (_, g) => rewards.slice(g * size, (g + 1) * size));

/** Advantages of samples in any order, whose groups are those of equal prompts. */
function byPrompt(prompts: readonly string[], rewards: readonly number[], globalStd: boolean): number[] {
  const places = new Map<string, number[]>();
  for (const [i, prompt] of prompts.entries()) places.set(prompt, [...(places.get(prompt) ?? []), i]);
  const groups = [...places.values()];
  const result = Array<number>(rewards.length);
  groupAdvantages(
    groups.map((group) => group.map((i) => rewards[i]!)),
    { ...unclamped, global_std: globalStd },
  ).forEach((advantages, g) => {
    advantages.forEach((value, place) => {
      result[groups[g]![place]!] = value;
    });
  });
  return result;
}

const weightedSum = (weights: Readonly<Record<string, number>>, scores: Readonly<Record<string, number[]>>): number[] =>
  Object.values(scores)[0]!.map((_, i) =>
    Object.entries(weights).reduce((sum, [name, weight]) => sum + weight * scores[name]![i]!, 0),
  );

/** What each kind of case checks. */
const checks: Readonly<Record<string, (of: Case, allowed: number) => void>> = {
  flow_grpo_tracker({ args, advantages }, allowed) {
    const { prompts, rewards, global_std } = args as {
      prompts: string[];
      rewards: number[];
      global_std: boolean;
    };
    if (!Array.isArray(rewards[0])) {
      expectNear(byPrompt(prompts, rewards, global_std), advantages as number[], allowed);
      return;
    }
    // Rewards [samples, T]: each column is a reward of its own.
    const column = (table: unknown, t: number): number[] => (table as number[][]).map((row) => row[t]!);
    for (const t of rewards[0].keys())
      expectNear(byPrompt(prompts, column(rewards, t), global_std), column(advantages, t), allowed);
  },
  flow_grpo_untracked({ args, advantages }, allowed) {
    expectNear(groupAdvantages([args.rewards], unclamped)[0]!, advantages as number[], allowed);
  },
  population_group({ args, advantages }, allowed) {
    const { rewards, eps } = args as { rewards: number[]; eps: number };
    expectNear(groupAdvantages([rewards], { ...unclamped, advantage_eps: eps })[0]!, advantages as number[], allowed);
  },
  dance_group({ args, advantages, advantages_f64 }, allowed) {
    const { rewards, num_generations } = args as { rewards: number[]; num_generations?: number };
    const groups = split(rewards, num_generations ?? rewards.length);
    const found = groupAdvantages(groups, { ...unclamped, advantage_eps: 1e-8, correction: 1 }).flat();
    expectNear(found, advantages as number[], allowed);
    if (advantages_f64) expectNear(found, advantages_f64, 1e-7);
  },
  mix_advantage_aggr({ args, advantages }, allowed) {
    const { rewards, weights, num_generations, trimmed_ratio } = args as {
      rewards: Record<string, number[]>;
      weights: Record<string, number>;
      num_generations: number;
      trimmed_ratio: number;
    };
    const normalised = Object.entries(rewards).map(([name, scores]) => [
      name,
      split(scores, num_generations).flatMap((group) => {
        const trimmed = group.toSorted((a, b) => a - b).slice(Math.trunc(num_generations * trimmed_ratio));
        const moments = momentsOf(trimmed, 1);
        return group.map((score) => standardise(score, moments, 1e-8));
      }),
    ]);
    expectNear(weightedSum(weights, Object.fromEntries(normalised)), advantages as number[], allowed);
  },
  flow_grpo_weighted_sum({ args, avg }, allowed) {
    expectNear(weightedSum(args.weights, args.rewards), avg!, allowed);
  },
  dance_hunyuan_bestofn({ args, selected_sorted }) {
    const { bestofn, vq_coef, mq_coef, vq_advantages, mq_advantages } = args as {
      bestofn: number;
      vq_coef: number;
      mq_coef: number;
      vq_advantages: number[];
      mq_advantages: number[];
    };
    const total = vq_advantages.map((value, i) => vq_coef * value + mq_coef * mq_advantages[i]!);
    expect(extremes(total, bestofn / 2, bestofn / 2)).toEqual(selected_sorted);
  },
  ddpo_tracker({ args, updates }, allowed) {
    // DDPO's statistics are those of a rolling buffer a prompt, or of the batch while the buffer is short.
    const { buffer_size, min_count } = args as { buffer_size: number; min_count: number };
    const buffers = new Map<string, number[]>();
    for (const { prompts, rewards, advantages } of updates!) {
      for (const prompt of new Set(prompts)) {
        const own = rewards.filter((_, i) => prompts[i] === prompt);
        buffers.set(prompt, [...(buffers.get(prompt) ?? []), ...own].slice(-buffer_size));
      }
      const found = rewards.map((reward, i) => {
        const buffer = buffers.get(prompts[i]!)!;
        return standardise(reward, momentsOf(buffer.length < min_count ? rewards : buffer), 1e-6);
      });
      expectNear(found, advantages, allowed);
    }
  },
};

describe('published advantages', () => {
  test('there are as many cases as the reference has', () => expect(cases).toHaveLength(33));

  for (const item of cases) test(item.name, () => checks[item.kind]!(item, item.tol.exact ? 0 : item.tol.abs!));
});

describe('guards', () => {
  test('a group of one and a group of equal rewards have no advantages, also with no eps', () => {
    for (const options of [
      {},
      { advantage_eps: 0 },
      { advantage_eps: 0, correction: 1 as const },
      { global_std: true },
    ]) {
      const [one, equal, spread] = groupAdvantages([[0.3], [0.1, 0.1, 0.1], [0, 1]], options);
      expect(one).toEqual([0]);
      expect(equal).toEqual([0, 0, 0]);
      expect(spread![1]).toBeGreaterThan(0);
    }
  });

  test('a reward that is not finite is refused: lost samples have left their group', () => {
    for (const lost of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => groupAdvantages([[1], [1, lost, 3]])).toThrow(`expected finite rewards, found ${lost} in group 1`);
    expect(groupAdvantages([[], [1]])).toEqual([[], [0]]);
  });

  test('advantages can be relative to the rewards of more samples than have one', () => {
    const all = [1, 5, 2, 8, 3, 9];
    const [whole] = groupAdvantages([all]);
    for (const global_std of [false, true])
      expect(groupAdvantages([[1, 9]], { baselines: [all], global_std })).toEqual([[whole![0], whole![5]]]);
  });

  test('advantages are clamped after they are normalised', () => {
    const rewards = [...Array(99).fill(0), 1];
    expect(groupAdvantages([rewards])[0]!.at(-1)).toBe(5);
    expect(groupAdvantages([rewards], { advantage_max: 1 })[0]!.at(-1)).toBe(1);
    expect(groupAdvantages([rewards], unclamped)[0]!.at(-1)).toBeGreaterThan(9);
  });

  test('impossible options are refused', () => {
    expect(() => groupAdvantages([[1, 2]], { advantage_eps: -1 })).toThrow(
      'expected eps >= 0 and max > 0, found -1 and 5',
    );
  });
});

fixture.done();
