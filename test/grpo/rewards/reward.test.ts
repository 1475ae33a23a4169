import { describe, expect, test } from 'vitest';
import { httpReward } from '../../../grpo/rewards/http.js';
import { moduleReward } from '../../../grpo/rewards/module.js';
import { CombinedReward, type Reward, RewardError, scoresFrom, waitsForScores } from '../../../grpo/rewards/reward.js';
import { plainPicture } from './pictures.js';

const images = [10, 20, 40, 90].map((level) => plainPicture([level, level, level]));

const constant = (name: string, scores: unknown): Reward => ({ name, score: async () => scores as number[] });

describe('several rewards', () => {
  test('the total is the weighted sum of raw scores', async () => {
    const rewards = [
      { reward: constant('a', [1, 2, 3, 4]), weight: 2 },
      { reward: constant('b', [0.5, 0, 0, -1]), weight: -1 },
    ];
    expect(await new CombinedReward(rewards).score(images)).toEqual({
      total: [1.5, 4, 6, 9],
      byReward: { a: [1, 2, 3, 4], b: [0.5, 0, 0, -1] },
    });
  });

  test('or of each normalised in its group, which makes scales alike', async () => {
    const rewards = [
      { reward: constant('a', [0, 2, 5, 7]), weight: 1 },
      { reward: constant('b', [100, 300, 0, 0]), weight: 0.5 },
    ];
    const combined = new CombinedReward(rewards, { combine: 'normalised', eps: 0 });
    const { total, byReward } = await combined.score(images, [2, 2]);
    expect(total).toEqual([-1.5, 1.5, -1, 1]); // a group of equal scores adds nothing
    expect(byReward.b).toEqual([100, 300, 0, 0]);
    const together = await combined.score(images);
    expect(together.total[0]).toBeCloseTo(-3.5 / Math.sqrt(7.25) + 0, 6);
    await expect(combined.score(images, [3])).rejects.toThrow('groups of 3 are not the 4 images given');
  });

  test('are waited for where one of them is: a server, or a function of the user', () => {
    const weighted = (...rewards: readonly Reward[]) => rewards.map((reward) => ({ reward, weight: 1 }));
    const here = constant('here', []);
    const server = httpReward('server', { url: 'http://127.0.0.1:1', encode: () => new Uint8Array() });
    const mine = moduleReward('mine', () => []);
    expect(
      [[], [here], [here, server], [mine, here]].map((given) => new CombinedReward(weighted(...given)).waited),
    ).toEqual([false, false, true, true]);
    const configured: Parameters<typeof waitsForScores>[0][] = [
      {},
      { brightness: {} },
      { brightness: {}, server: { http: 'http://127.0.0.1:1' } },
      { mine: { module: './mine.mjs' } },
    ];
    expect(configured.map(waitsForScores)).toEqual([false, false, true, true]);
    server.dispose?.();
  });

  test('no pictures are no call', async () => {
    const never: Reward = { name: 'never', score: () => Promise.reject(new Error('called')) };
    const combined = new CombinedReward([{ reward: never, weight: 1 }]);
    expect(await combined.score([])).toEqual({ total: [], byReward: { never: [] } });
  });

  test('an error is thrown after the others have ended', async () => {
    let ended = false;
    const slow: Reward = {
      name: 'slow',
      score: async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        ended = true;
        return [1, 2, 3, 4];
      },
    };
    const failing: Reward = { name: 'failing', score: () => Promise.reject(new Error('lost')) };
    const combined = new CombinedReward([failing, slow].map((reward) => ({ reward, weight: 1 })));
    await expect(combined.score(images)).rejects.toThrow('lost');
    expect(ended).toBe(true);
  });

  test('dispose frees each', () => {
    const freed: string[] = [];
    const reward = (name: string): Reward => ({ ...constant(name, []), dispose: () => freed.push(name) });
    new CombinedReward(['a', 'b'].map((name) => ({ reward: reward(name), weight: 1 }))).dispose();
    expect(freed).toEqual(['a', 'b']);
  });
});

test.each([Float32Array.of(0.5, 2), Float64Array.of(0.5, 2), new Uint8Array([1, 2]), new Int32Array([-1, 2])])(
  'numbers of a typed array are scores: %o',
  (scores) => {
    const found = scoresFrom('mine', scores, 2);
    expect(Array.isArray(found)).toBe(true);
    expect(found).toEqual(Array.from(scores));
  },
);

describe('an interruption', () => {
  test('ends the scoring by its reason, whatever the rewards say of it', async () => {
    const end = new AbortController();
    const failing: Reward = { name: 'failing', score: () => Promise.reject(new Error('lost')) };
    const waiting: Reward = {
      name: 'waiting',
      score: (_, { signal } = {}) =>
        new Promise((_, reject) => signal!.addEventListener('abort', () => reject(signal!.reason))),
    };
    const combined = new CombinedReward([failing, waiting].map((reward) => ({ reward, weight: 1 })));
    const scoring = combined.score(images, undefined, { signal: end.signal });
    end.abort(new Error('enough'));
    await expect(scoring).rejects.toThrow('enough');
  });
});

describe('scores that do not fit', () => {
  test.each([
    [[1, 2, 3], 'reward "x" returned 3 scores for 4 images'],
    [[1, 2, Number.NaN, 4], 'reward "x" returned NaN as score 3 for 4 images'],
    [[1, null, 3, 4], 'reward "x" returned null as score 2 for 4 images'],
    [[1, 2, 3, '4'], 'reward "x" returned "4" as score 4 for 4 images'],
    [[1, 'a "b"\n', 3, 4], 'reward "x" returned "a \\"b\\"\\n" as score 2 for 4 images'],
    ['1234', 'reward "x" returned "1234" instead of an array of scores for 4 images'],
    [[1, 2, 3n, 4], 'reward "x" returned 3n as score 3 for 4 images'],
    [[1, 2, { a: 1n }, 4], 'reward "x" returned { a: 1n } as score 3 for 4 images'],
    [[1, 2, Object.create(null), 4], 'reward "x" returned {} as score 3 for 4 images'],
    [Object.assign(Array(4), { 0: 1, 1: 2, 3: 4 }), 'reward "x" returned undefined as score 3 for 4 images'],
    [new Float32Array([1, 2, Number.NaN, 4]), 'reward "x" returned NaN as score 3 for 4 images'],
    [new Float32Array(3), 'reward "x" returned 3 scores for 4 images'],
    [new BigInt64Array(4), 'reward "x" returned 0n as score 1 for 4 images'],
    [new DataView(new ArrayBuffer(4)), 'reward "x" returned {} instead of an array of scores for 4 images'],
    [undefined, 'reward "x" returned undefined instead of an array of scores for 4 images'],
    [{ scores: [] }, 'reward "x" returned {"scores":[]} instead of an array of scores for 4 images'],
  ])('%o', async (scores, message) => {
    const combined = new CombinedReward([{ reward: constant('x', scores), weight: 1 }]);
    const error = await combined.score(images).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RewardError);
    expect((error as RewardError).message).toBe(message);
    expect(error).toMatchObject({ reward: 'x', images: 4 });
  });

  test('the source and the cause are in the message', () => {
    const cause = new TypeError('no such field');
    const error = new RewardError('mine', 'threw', 1, { source: './mine.mjs', cause });
    expect(error.message).toBe('reward "mine" threw for 1 image (./mine.mjs): no such field');
    expect(error.cause).toBe(cause);
    expect(() => scoresFrom('mine', [], 1, { source: './mine.mjs' })).toThrow(
      'reward "mine" returned 0 scores for 1 image (./mine.mjs)',
    );
  });
});
