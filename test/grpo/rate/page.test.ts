/** The page of a rating in a real browser: keys, two tabs, a reload, a server that goes away, a telephone, and a training. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { readVotes } from '../../../grpo/finetune/taste/votes.js';
import { temporaryFolder } from '../../temporary.js';
import { noBrowser, openBrowser, openPage, seriousFaults } from '../dashboard/browser.js';
import { pictureAt, stateOf } from './client.js';
import { brightTaste } from './stand_in.js';
import { readVoteLines, startTiny, stateWhen, writeTinyConfig } from './tiny.js';

const folder = temporaryFolder();
const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';

beforeAll(() => writeTinyConfig(folder));

const loaded = '[...document.querySelectorAll(".picture img")].filter((each) => each.naturalWidth > 0).length';

/** The id of the pair that is shown, once it is another than `but`. */
async function pairOn(page: Page, but = ''): Promise<string> {
  await page.locator(`#choice[data-pair]:not([data-pair="${but}"]):not([data-pair=""])`).waitFor();
  return (await page.locator('#choice').getAttribute('data-pair'))!;
}

/** Waits until both pictures can be seen. */
const seen = (page: Page) => expect.poll(() => page.evaluate<number>(loaded), { timeout: 60_000 }).toBe(2);

const picturesOn = (page: Page): Promise<string[]> =>
  page.evaluate('[...document.querySelectorAll(".picture img")].map(({ src }) => src)');

/** Presses a key on the pair that is shown, and waits for the next one. */
async function press(page: Page, key: string): Promise<void> {
  const pair = await pairOn(page);
  await seen(page);
  await page.keyboard.press(key);
  await pairOn(page, pair);
}

const keys = ['ArrowLeft', 'ArrowRight', ' '];
const choices = ['left', 'right', 'equal'];

describe.skipIf(noBrowser)(`the page in a browser${noBrowser ? ` (skipped: ${noBrowser})` : ''}`, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await openBrowser();
    return () => browser.close();
  });

  test('thirty votes by keyboard with undo and a reload in the middle, then a training to a changed grid', async () => {
    const taste = brightTaste({ agreesAfter: 15 });
    const server = await startTiny(folder, 'keys', { taste, pairs: 30, ask: 1, runs: join(folder, 'runs') });
    const { page, complaints, hosts } = await openPage(browser);
    await page.goto(server.url);
    await pairOn(page);
    const train = page.getByRole('button', { name: 'train now' });
    expect(await train.isDisabled()).toBe(true);
    for (let i = 0; i < 10; i++) await press(page, keys[i % 3]!);

    await press(page, 's');
    const before = await picturesOn(page);
    await press(page, 'ArrowRight');
    await press(page, 'u'); // the pair is shown again
    expect(await picturesOn(page)).toEqual(before);
    await page.getByText('10 of 30 votes, 1 skipped').waitFor();

    for (let i = 10; i < 16; i++) await press(page, keys[i % 3]!);
    await page.locator('body[data-sent="true"]').waitFor();
    const shown = await picturesOn(page);
    await page.reload();
    await pairOn(page);
    expect(await picturesOn(page)).toEqual(shown);
    await page.getByText('16 of 30 votes, 1 skipped').waitFor();
    for (let i = 16; i < 30; i++) await press(page, keys[i % 3]!);
    await page.getByText('30 of 30 votes, 1 skipped: enough, but each more helps').waitFor();
    await page.locator('body[data-sent="true"]').waitFor();
    const { votes } = await readVotes(join(folder, 'keys'));
    const counted = votes.filter(({ choice }) => choice !== 'skip');
    expect(counted.map(({ choice }) => choice)).toEqual(counted.map((_, i) => choices[i % 3]));
    expect(counted.length).toBe(30);
    expect(new Set(votes.map(({ pictures }) => pictures[0].sha256)).size).toBe(31); // none was asked about twice
    expect(votes.every(({ seconds }) => seconds > 0 && seconds < 240)).toBe(true);

    await page.getByText('Your votes agree with one another.').waitFor();
    await page.getByText('You like: brighter').waitFor();
    expect(await seriousFaults(page)).toEqual([]);
    await expect.poll(() => train.isEnabled()).toBe(true);
    await train.click();
    await page
      .getByText('It waits for 1 more vote on what it draws now, after 1 update.')
      .waitFor({ timeout: 120_000 });
    expect(await seriousFaults(page)).toEqual([]);
    await seen(page);
    await page.keyboard.press('ArrowLeft');
    await page.getByText('It waits for').waitFor({ state: 'hidden' });
    const shownGrids = '[...document.querySelectorAll(".grids img")].filter((each) => each.naturalWidth > 0).length';
    await page.locator('.grids figure[data-update="2"]').waitFor({ timeout: 120_000 });
    await expect.poll(() => page.evaluate<number>(shownGrids), { timeout: 60_000 }).toBe(2);
    await page.getByText('done: update 2 of 2').waitFor({ timeout: 120_000 });
    const grids = await Promise.all([0, 2].map((update) => pictureAt(server, `/api/samples/00000${update}.png`)));
    expect(Buffer.from(grids[0]!).equals(grids[1]!)).toBe(false);
    expect(await page.locator('.results tbody tr').count()).toBeGreaterThan(0);
    const [popup] = await Promise.all([
      page.waitForEvent('popup'),
      page.getByRole('link', { name: 'the dashboard of this run' }).click(),
    ]);
    await popup.locator('body[data-ready]').waitFor();
    expect(await seriousFaults(page)).toEqual([]);
    expect(complaints).toEqual([]);
    expect([...hosts]).toEqual([`127.0.0.1:${server.port}`]);
  });

  test('of two tabs that vote on one pair the first counts, and both go on', async () => {
    const server = await startTiny(folder, 'tabs');
    const [one, two] = [await openPage(browser), await openPage(browser)];
    for (const { page } of [one, two]) await page.goto(server.url);
    const pair = await pairOn(one.page);
    expect(await pairOn(two.page)).toBe(pair);
    let letThrough = (): void => {};
    const isLate = new Promise<void>((done) => {
      letThrough = done;
    });
    await two.page.route('**/api/vote', async (route) => {
      await isLate;
      await route.continue();
    });
    await two.page.keyboard.press('ArrowRight');
    const after = await pairOn(two.page, pair);
    await press(one.page, 'ArrowLeft');
    await stateWhen(server, ({ counted }) => counted === 1);
    letThrough();
    await two.page.locator('body[data-sent="true"]').waitFor();
    for (const { page } of [one, two]) {
      expect(await pairOn(page, pair)).toBe(after);
      await page.getByText('1 of 60 votes').waitFor();
    }
    expect((await readVoteLines(join(folder, 'tabs'))).map(({ choice }) => choice)).toEqual(['left']);
    await press(two.page, ' '); // the other tab hears of it
    await one.page.getByText('2 of 60 votes').waitFor();
    expect([...one.complaints, ...two.complaints]).toEqual([]);
  });

  test('a vote while the server is away is sent when it is there again, and counts once', async () => {
    const first = await startTiny(folder, 'away');
    const { page } = await openPage(browser);
    await page.goto(first.url);
    await press(page, 'ArrowLeft');
    await page.locator('body[data-sent="true"]').waitFor();
    await page.waitForTimeout(5000); // for another pair to be drawn and loaded: without a server it can't be
    await first.close();
    await page.getByText('no connection').waitFor();
    const pair = await pairOn(page);
    await page.keyboard.press('ArrowRight');
    await pairOn(page, pair);
    expect(await page.locator('body').getAttribute('data-sent')).toBe('false');
    const second = await startTiny(folder, 'away', { port: first.port });
    await page.locator('body[data-sent="true"]').waitFor({ timeout: 60_000 });
    await page.getByText('2 of 60 votes').waitFor();
    await seen(page); // also those that were asked for while there was nobody to send them
    expect((await stateOf(second)).counted).toBe(2);
    expect((await readVoteLines(join(folder, 'away'))).map(({ choice }) => choice)).toEqual(['left', 'right']);
  });

  test('at 360 pixels, by touch, in dark, with a prompt of HTML: no overflow, no serious fault', async () => {
    const prompt = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
    const prompts = join(folder, 'harm.txt');
    await writeFile(prompts, prompt);
    const server = await startTiny(folder, 'harm', { prompts, taste: brightTaste() });
    const { page, complaints } = await openPage(browser, {
      viewport: { width: 360, height: 780 },
      colorScheme: 'dark',
      hasTouch: true,
      isMobile: true,
    });
    await page.goto(server.url);
    const pair = await pairOn(page);
    expect(await page.locator('#prompt').textContent()).toBe(prompt);
    expect(await page.title()).toBe('0/60 winnow rate');
    expect(await page.locator('main img[src="x"], main script').count()).toBe(0);
    await page.locator('.picture').first().tap();
    await pairOn(page, pair);
    await page.getByText('1 of 60 votes').waitFor();
    for (const box of await Promise.all(
      (await page.locator('.choices button').all()).map((each) => each.boundingBox()),
    ))
      expect(box!.height).toBeGreaterThanOrEqual(44); // as large as a finger
    expect(await seriousFaults(page)).toEqual([]);
    for (const width of [360, 3840]) {
      await page.setViewportSize({ width, height: 900 });
      expect(await page.evaluate<number>(overflow), String(width)).toBe(0);
    }
    expect(complaints).toEqual([]);
  });
});
