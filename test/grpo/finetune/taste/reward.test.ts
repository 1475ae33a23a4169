/** A taste as a reward that is fitted again while it is used. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadTaste, readTaste, writeTaste } from '../../../../grpo/finetune/taste/folder.js';
import { tasteReward } from '../../../../grpo/finetune/taste/reward.js';
import { fitTaste } from '../../../../grpo/finetune/taste/taste.js';
import { CombinedReward } from '../../../../grpo/rewards/reward.js';
import { testDevice } from '../../../check.js';
import { scenePairs } from '../../../taste/pairs.js';
import { castVotes, utilityBy, voters } from '../../../taste/voter.js';
import { temporaryFolder } from '../../../temporary.js';

const folder = temporaryFolder();
const device = await testDevice();
const pairs = scenePairs(50);
const pictures = pairs.flatMap((pair) => [...pair.pictures]);
const images = pictures.slice(0, 8).map((picture) => ({ ...picture, prompt: 'a scene', meta: {} }));

/** Fits the folder's votes and writes it; returns the hash of the weights in taste.json. */
async function fitted(): Promise<string> {
  const taste = await fitTaste(device, folder, { clip: 'scenes-clip' });
  await writeTaste(folder, taste);
  taste.dispose();
  return JSON.parse(await readFile(join(folder, 'taste.json'), 'utf8')).weights;
}

test('a version is the hash of the weights; one that is fitted again scores in the units of the first, from renew() on', async () => {
  const utility = utilityBy(voters['small and dark']!, pictures);
  await castVotes(folder, pairs.slice(0, 30), utility, 1);
  const first = await fitted();
  const { base: unit } = await readTaste(folder);
  const reward = await tasteReward(device, 'taste', folder);
  const rewards = new CombinedReward([{ reward, weight: 1 }]);
  try {
    expect(rewards.versions).toEqual({ taste: first });
    const before = (await rewards.score(images)).total;
    await castVotes(folder, pairs.slice(30), utility, 2);
    const second = await fitted();
    expect(second).not.toBe(first);
    expect(rewards.versions).toEqual({ taste: first }); // not before it is told
    expect((await rewards.score(images)).total).toEqual(before);

    await rewards.renew();
    expect(rewards.versions).toEqual({ taste: second });
    const taste = await loadTaste(device, folder);
    const factor = unit.taste / taste.base.taste;
    expect(factor).not.toBe(1);
    const expected = (await taste.score(images)).map((score) => factor * score);
    taste.dispose();
    expect((await rewards.score(images)).total).toEqual(expected);
  } finally {
    rewards.dispose();
  }
});
