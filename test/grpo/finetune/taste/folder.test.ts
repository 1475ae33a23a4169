/** A taste in its folder: the same votes give the same bits, and what was cut, edited or is of another CLIP is refused. */
import { appendFileSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { exitCodeOf, exitCodes } from '../../../../grpo/finetune/exit_codes.js';
import { loadReward } from '../../../../grpo/finetune/rewards/registry.js';
import { headName, loadTaste, readTaste, tasteName, writeTaste } from '../../../../grpo/finetune/taste/folder.js';
import { tasteTraining } from '../../../../grpo/finetune/taste/reward.js';
import { fitTaste } from '../../../../grpo/finetune/taste/taste.js';
import { appendVote, readVotes, votesName } from '../../../../grpo/finetune/taste/votes.js';
import { embeddedFolder } from '../../../../models/embedded/index.js';
import { testDevice } from '../../../check.js';
import { scenePairs } from '../../../taste/pairs.js';
import { castVotes } from '../../../taste/voter.js';
import { temporaryFolder } from '../../../temporary.js';

const device = await testDevice();
const root = temporaryFolder();
const clip = 'scenes-clip';

const pairs = scenePairs(40);
const images = pairs.slice(0, 10).map(({ prompt, pictures: [left] }) => ({ ...left, prompt, meta: {} }));
/** Likes bright pictures. */
const brightness = ({ rgb }: { rgb: Uint8Array }): number => rgb.reduce((sum, value) => sum + value, 0);

/** A folder with votes and the taste that was fitted to them. */
async function tasteIn(name: string): Promise<string> {
  const folder = join(root, name);
  await castVotes(folder, pairs, brightness, 1);
  const taste = await fitTaste(device, folder, { clip });
  await writeTaste(folder, taste);
  taste.dispose();
  return folder;
}

const bright = await tasteIn('bright');

/** A copy of the folder, which `edit` changes. */
function edited(name: string, edit: (folder: string) => void): string {
  const folder = join(root, name);
  rmSync(folder, { recursive: true, force: true });
  cpSync(bright, folder, { recursive: true });
  edit(folder);
  return folder;
}

/** Replaces a text in a file of a copy. */
const replaced = (file: string, from: string | RegExp, to: string): string =>
  edited('replaced', (folder) => {
    const path = join(folder, file);
    const text = readFileSync(path, 'latin1');
    const changed = text.replace(from, to);
    expect(changed).not.toBe(text);
    writeFileSync(path, changed, 'latin1');
  });

async function refusalOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(exitCodeOf(error)).toBe(exitCodes.badFile);
  return (error as Error).message;
}

test('the same votes give the same bits, and a taste scores as it did when it was written', async () => {
  const again = await tasteIn('again');
  for (const name of [tasteName, headName]) {
    const [a, b] = [bright, again].map((folder) => readFileSync(join(folder, name), 'latin1'));
    // The times of votes differ, and so does the hash of their file, which the other hash is of.
    const timeless = (text: string): string => text.replace(/[0-9a-f]{64}/g, '');
    expect(timeless(a!)).toBe(timeless(b!));
  }
  const fitted = await fitTaste(device, bright, { clip });
  const loaded = await loadTaste(device, bright);
  const reward = await loadReward(device, 'taste', { path: bright });
  const scores = await fitted.score(images);
  expect(await loaded.score(images)).toEqual(scores);
  expect(await reward.score(images)).toEqual(scores);
  expect((await reward.score([...images].reverse())).reverse()).toEqual(scores);
  expect(loaded.words[0]).toMatch(/^lighter/);
  expect(loaded.agreement.low).toBeGreaterThan(0.5);
  for (const thing of [fitted, loaded, reward]) thing.dispose?.();
});

test('files that were cut anywhere are refused', async () => {
  for (const name of [tasteName, headName]) {
    const { length } = readFileSync(join(bright, name));
    const cuts = Array.from({ length: 12 }, (_, i) => Math.floor((i * length) / 12));
    for (const cut of [...cuts, length - 1]) {
      const folder = edited('cut', (copy) => {
        const path = join(copy, name);
        writeFileSync(path, readFileSync(path).subarray(0, cut));
      });
      expect(await refusalOf(readTaste(folder))).toContain(cut === length - 1 ? folder : join(folder, name));
    }
  }
});

test('files that were edited, exchanged or are missing are refused, and say what was expected', async () => {
  const belongs = 'remove taste.json, and the taste is fitted again';
  expect(await refusalOf(readTaste(replaced(tasteName, /"pictures": \d+/, '"pictures": 7')))).toContain(belongs);
  expect(await refusalOf(readTaste(replaced(tasteName, '"version": 1', '"version": 2')))).toContain('version');
  expect(await refusalOf(readTaste(replaced(tasteName, /"agree": \d+/, '"agree": "many"')))).toContain(
    'agreement.agree',
  );
  const flipped = edited('flipped', (folder) => {
    const path = join(folder, headName);
    const bytes = readFileSync(path);
    bytes[bytes.length - 3]! ^= 1;
    writeFileSync(path, bytes);
  });
  expect(await refusalOf(readTaste(flipped))).toContain('its weights are not those of taste.json');
  for (const name of [tasteName, headName]) {
    const folder = edited('missing', (copy) => rmSync(join(copy, name)));
    expect(await refusalOf(loadReward(device, 'taste', { path: folder }))).toContain('no such file');
  }
});

test('votes that were edited are refused, later ones are told of, and a taste goes without them', async () => {
  const changed = replaced(votesName, '"choice":"left"', '"choice":"right"');
  expect(await refusalOf(readTaste(changed))).toContain('is not what the taste was fitted to');
  const told: string[] = [];
  const more = edited('more', () => {});
  const [vote] = (await readVotes(more)).votes;
  await appendVote(more, { ...vote!, id: 'another' });
  await readTaste(more, { warn: (message) => void told.push(message) });
  expect(told).toEqual([`${join(more, votesName)} has votes that came after the taste was fitted`]);
  const without = edited('without', (folder) => rmSync(join(folder, votesName)));
  expect((await readTaste(without)).votes.count).toBe(pairs.length);
});

test('pictures that were exchanged, damaged or are missing are refused by the fit', async () => {
  const [vote] = (await readVotes(bright)).votes;
  const [first, second] = vote!.pictures.map(({ file }) => file);
  const exchanged = edited('exchanged', (folder) => cpSync(join(folder, second!), join(folder, first!)));
  expect(await refusalOf(fitTaste(device, exchanged, { clip }))).toContain('its pixels have the hash');
  const damaged = edited('damaged', (folder) => writeFileSync(join(folder, first!), 'no picture'));
  expect(await refusalOf(fitTaste(device, damaged, { clip }))).toContain(join(damaged, first!));
  const missing = edited('missing', (folder) => rmSync(join(folder, first!)));
  expect(await refusalOf(fitTaste(device, missing, { clip }))).toContain('no such file');
});

test('another CLIP is refused by its hash', async () => {
  const own = join(root, 'clip');
  cpSync(embeddedFolder(clip), own, { recursive: true });
  const folder = edited('own', () => {});
  const taste = await fitTaste(device, folder, { clip: own });
  await writeTaste(folder, taste);
  taste.dispose();
  (await loadTaste(device, folder)).dispose();
  appendFileSync(join(own, 'config.json'), '\n');
  expect(await refusalOf(loadTaste(device, folder))).toMatch(/was fitted with another CLIP: .* expected [0-9a-f]{64}/s);
});

test('one trains by taste and CLIP score, each over its deviation, but not by votes at random unless told to', async () => {
  const { base } = await readTaste(bright);
  const { reward, set, messages } = await tasteTraining(bright);
  expect(reward).toEqual({
    taste: { path: bright, weight: 1 / base.taste },
    'scenes-clip': { weight: 1 / base.clip },
  });
  expect(set).toEqual([`reward=${JSON.stringify(reward)}`, 'grpo.combine=sum']);
  expect(messages[0]).toMatch(/^taste {4}\d+ % of 40 held-out votes \(95 % interval: \d+ % to \d+ %\)$/);
  expect(messages[1]).toMatch(/^ {9}after 20 votes \d+ %, after 30 \d+ %, after 40 \d+ %$/);
  expect(messages[2]).toMatch(/^ {9}you like: lighter/);
  const folder = join(root, 'random');
  await castVotes(folder, pairs, undefined, 7);
  const taste = await fitTaste(device, folder, { clip });
  await writeTaste(folder, taste);
  taste.dispose();
  await expect(tasteTraining(folder)).rejects.toMatchObject({
    name: 'UsageError',
    message: expect.stringMatching(/your votes do not agree with one another yet \(\d+ % of 40 held-out pairs; chance/),
  });
  expect((await tasteTraining(folder, { force: true })).reward.taste!.weight).toBeGreaterThan(0);
  // Told to, one still can't learn of what is the same for every picture.
  const equal = edited('equal', (copy) => {
    const path = join(copy, votesName);
    writeFileSync(path, readFileSync(path, 'utf8').replace(/"(left|right)"/g, '"equal"'));
  });
  const even = await fitTaste(device, equal, { clip });
  await writeTaste(equal, even);
  expect(even.groups.map(({ strength }) => strength)).toEqual([0, 0, 0, 0]);
  even.dispose();
  await expect(tasteTraining(equal)).rejects.toThrow('0 % of 0 held-out pairs');
  expect(await refusalOf(tasteTraining(equal, { force: true }))).toContain('base.taste is 0');
});
