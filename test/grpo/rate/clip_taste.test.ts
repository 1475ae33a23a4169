/** The taste that a page shows: fitted to real votes by the features of scenes-clip. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { clipTaste } from '../../../grpo/rate/clip_taste.js';
import { testDevice } from '../../check.js';
import { scenePairs } from '../../taste/pairs.js';
import { castVotes, utilityBy, voters } from '../../taste/voter.js';
import { temporaryFolder } from '../../temporary.js';

const folder = temporaryFolder();
const device = await testDevice();
const pairs = scenePairs(40);
const pictures = pairs.flatMap((pair) => [...pair.pictures]);

test('votes by a rule agree, are told in words, choose pairs, and are trained by', async () => {
  const own = join(folder, 'dark');
  await castVotes(own, pairs, utilityBy(voters['small and dark']!, pictures), 1);
  const taste = clipTaste(device, 'scenes-clip', () => {});
  const drawn = pictures.slice(0, 6).map((picture, seed) => ({ ...picture, prompt: 'a scene', seed }));
  expect(await taste.nextPair(drawn, 20)).toEqual([0, 1]); // nothing is fitted yet
  const shown = await taste.fit(own);
  expect(shown).toMatchObject({ agrees: true, sentence: 'Your votes agree with one another.' });
  expect(shown.words.join()).toMatch(/darker/);
  expect(shown.agreement.history.map(({ votes }) => votes)).toEqual([20, 30, 40]);
  await expect(access(join(own, 'taste.json'))).rejects.toThrow(/ENOENT/);
  expect(await taste.nextPair(drawn, 41)).toEqual([0, 1]); // every second pair is any
  const [one, other] = await taste.nextPair(drawn, 40);
  expect([one < other, other < 6]).toEqual([true, true]);

  taste.rest();
  expect(await taste.fit(own)).toEqual(shown); // with the same votes, and a CLIP that is loaded again
  await taste.write(own);
  const [change, ...more] = await taste.rewards(own, { force: false });
  expect(more).toEqual(['grpo.combine=sum']);
  const [, rewards] = /^reward=(.*)$/.exec(change!)!;
  const { taste: first, 'scenes-clip': guard } = JSON.parse(rewards!);
  expect(first).toMatchObject({ path: own, weight: expect.any(Number) });
  expect(guard.weight).toBeGreaterThan(0);
  taste.rest();
});

test('votes at random are refused in words, and are trained by only where one insists', async () => {
  const own = join(folder, 'random');
  await castVotes(own, pairs, undefined, 3);
  const taste = clipTaste(device, 'scenes-clip', () => {});
  const { agrees, sentence } = await taste.fit(own);
  await taste.write(own);
  expect(agrees).toBe(false);
  expect(sentence).toMatch(
    /^Your votes do not agree with one another yet \(\d+ % of 40 held-out pairs; chance is 50 %\): rate more\.$/,
  );
  await expect(taste.rewards(own, { force: false })).rejects.toThrow(/do not agree with one another yet/);
  taste.rest();
});
