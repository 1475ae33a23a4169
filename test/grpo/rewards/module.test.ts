import { afterEach, expect, test, vi } from 'vitest';
import { moduleReward, type RewardFunction } from '../../../grpo/rewards/module.js';
import { RewardError } from '../../../grpo/rewards/reward.js';
import { plainPicture } from './pictures.js';

const images = [1, 2, 3].map((level) => plainPicture([level, 0, 0], `red ${level}`));
const source = './mine.mjs';

afterEach(() => {
  vi.useRealTimers();
});

const errorOf = async (compute: unknown, timeout = 5): Promise<RewardError> => {
  const error = await moduleReward('mine', compute as RewardFunction, { source, timeout })
    .score(images)
    .catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(RewardError);
  return error as RewardError;
};

test('a function is given the pictures and gives the scores, at once or later', async () => {
  const compute: RewardFunction = (given) => given.map(({ rgb, prompt }) => rgb[0]! + prompt.length);
  expect(await moduleReward('mine', compute).score(images)).toEqual([6, 7, 8]);
  const later = moduleReward('mine', async (given) => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    return compute(given);
  });
  expect(await later.score(images)).toEqual([6, 7, 8]);
});

test('what it throws is the cause, with its name and how many images it was given', async () => {
  const cause = new TypeError('rgb is not a string');
  const thrown = await errorOf(() => {
    throw cause;
  });
  expect(thrown.message).toBe('reward "mine" threw for 3 images (./mine.mjs): rgb is not a string');
  expect(thrown.cause).toBe(cause);
  expect((await errorOf(() => Promise.reject('no model'))).message).toBe(
    'reward "mine" threw for 3 images (./mine.mjs): no model',
  );
});

test('scores that do not fit are errors', async () => {
  expect((await errorOf(() => [1, 2])).message).toBe('reward "mine" returned 2 scores for 3 images (./mine.mjs)');
  expect((await errorOf(async () => [1, Number.POSITIVE_INFINITY, 2])).message).toContain(
    'returned Infinity as score 2',
  );
  expect((await errorOf(() => undefined)).message).toContain('returned undefined instead of an array');
});

test('one that never ends is an error after its time', async () => {
  const error = await errorOf(() => new Promise(() => {}), 0.02);
  expect(error.message).toBe('reward "mine" took more than 0.02 s for 3 images (./mine.mjs)');
});

test('typed arrays are scores', async () => {
  const scores = await moduleReward('mine', (given) => Float32Array.from(given, () => 0.5)).score(images);
  expect(scores).toEqual([0.5, 0.5, 0.5]);
});

test('an interruption ends the waiting by its reason', async () => {
  const end = new AbortController();
  const reward = moduleReward('mine', () => new Promise(() => {}));
  const scoring = reward.score(images, { signal: end.signal });
  setTimeout(() => end.abort(new Error('enough')), 10);
  await expect(scoring).rejects.toThrow(/^enough$/);
  await expect(reward.score(images, { signal: end.signal })).rejects.toThrow(/^enough$/);
});

test('no timer is left behind', async () => {
  vi.useFakeTimers();
  await moduleReward('mine', () => [1, 2, 3]).score(images);
  await errorOf(() => [1]);
  expect(vi.getTimerCount()).toBe(0);
});
