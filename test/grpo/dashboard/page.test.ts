/** The page in a real browser: of a live run, of a long one, of one that is out to do harm. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
import { type Action, type DashboardOptions, startDashboard } from '../../../grpo/dashboard/index.js';
import { InterruptedError, type RunEvent, runConfig } from '../../../grpo/finetune/index.js';
import { holdFolder } from '../../../grpo/finetune/run/lock.js';
import { temporaryFolder } from '../../temporary.js';
import { writeTinyFile } from '../tiny_file.js';
import { noBrowser, openBrowser, openPage, seriousFaults } from './browser.js';
import { madeWorker, makeRun, writeWorkers } from './run_folder.js';

const folder = temporaryFolder();

async function start(options: DashboardOptions) {
  const dashboard = await startDashboard({ port: 0, ...options });
  onTestFinished(() => dashboard.close());
  return dashboard;
}

/** The value that a chart's legend shows of a curve, in all its digits. */
const shown = async (page: Page, chart: string, series: string): Promise<number> =>
  Number(await page.locator(`[data-chart="${chart}"] [data-series="${series}"]`).getAttribute('data-value'));

/** How long is waited for what a page shows. */
const soon = { timeout: 10_000 };

const overflow = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';

describe.skipIf(noBrowser)(`the page in a browser${noBrowser ? ` (skipped: ${noBrowser})` : ''}`, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await openBrowser();
    return () => browser.close();
  });

  test('a live run: its values are those of the files, it grows, its buttons act, and a lost server is survived', async () => {
    const config = join(folder, 'tiny.yaml');
    await writeTinyFile(
      folder,
      `lora: { rank: 2, alpha: 4, targets: attention }
reward: { brightness: { weight: 1 } }
sampler: { steps: 4, kind: ddim, noise: 1, eval_steps: 3 }
grpo: { keep: [4, 3, 2], prune_at: [1, 2], groups_per_update: 2 }
train: { updates: 9, lr: 1.0e-2, micro_batch: 4 }
sample: { seeds: [1, 2] }
eval: { n: 4 }
`,
    );
    const stop = new AbortController();
    const asked = new Set<'save' | 'sample'>();
    const act = (action: Action): void => {
      if (action === 'stop') stop.abort(new InterruptedError('SIGINT'));
      else asked.add(action);
    };
    const path = join(folder, 'runs', 'live');
    const events = runConfig({ config, out: join(folder, 'runs'), name: 'live', signal: stop.signal, asked });
    /** Has the run go on to an event. */
    const until = async (isIt: (event: RunEvent) => boolean): Promise<void> => {
      for (;;) {
        const { value, done } = await events.next();
        if (done) throw new Error('the run ended before');
        if (isIt(value)) return;
      }
    };
    const record = async (update: number) =>
      JSON.parse((await readFile(join(path, 'metrics.jsonl'), 'utf8')).split('\n')[update - 1]!);

    await until((event) => event.kind === 'update' && event.update === 2);
    const options = { runs: [path], live: { folder: path, act } };
    let dashboard = await startDashboard({ port: 0, ...options });
    onTestFinished(() => dashboard.close());
    const { page, hosts, complaints } = await openPage(browser);
    await page.goto(dashboard.url);
    await page.locator('[data-chart="Reward"] [data-x="2"]').waitFor();

    const second = await record(2);
    expect(await shown(page, 'Reward', 'reward')).toBe(second.reward);
    expect(await shown(page, 'Spread of rewards in a group', 'kept')).toBe(second['spread/kept']);
    expect(await shown(page, 'Norm of the gradient', 'gradient')).toBe(second.grad_norm);
    expect(await shown(page, 'Seconds by phase', 'training')).toBe(second['seconds/train']);
    const groups = (await readFile(join(path, 'groups.jsonl'), 'utf8')).trim().split('\n');
    const shownFirst = groups.map((line) => JSON.parse(line)).filter(({ group }) => group === 0); // they have pictures
    const { selections, survivors } = shownFirst.at(-1)!;
    await page.locator('.funnel .tile').first().waitFor();
    const face = page.locator('.funnel .tile .face').first();
    expect(await face.evaluate((each) => each.style.backgroundImage)).toMatch(/previews\/000002_0_\d\.png/);
    const rows = await page.locator('.funnel .row').all();
    const counts = await Promise.all(rows.map((row) => row.locator('.tile').count()));
    expect(counts).toEqual([4, 3, survivors.length]);
    const tiles = await rows[0]!.locator('.tile').all();
    const rewards = await Promise.all(tiles.map((tile) => tile.getAttribute('data-reward')));
    expect(rewards.map(Number)).toEqual([...selections[0].rewards].sort((a, b) => b - a));
    expect(await rows[0]!.locator('.tile.kept').count()).toBe(selections[0].kept.length);
    expect(await page.locator('.histogram rect').count()).toBe(28);
    expect(await page.locator('.samples img').count()).toBe(1);
    await page.waitForFunction('document.querySelector(".samples img").naturalWidth > 0');
    expect(await page.locator('#status').textContent()).toMatch(/^running: update 2 of 9/);

    await page.getByRole('button', { name: 'sample now' }).click();
    await page.getByRole('button', { name: 'save now' }).click();
    await expect.poll(() => [...asked].sort()).toEqual(['sample', 'save']);
    await until((event) => event.kind === 'checkpoint' && event.update === 2);
    await until((event) => event.kind === 'pictures' && event.update === 2);
    await page.locator('.samples figure[data-update="2"]').waitFor();
    await until(({ kind }) => kind === 'update');
    await page.locator('[data-chart="Reward"] [data-x="3"]').waitFor();
    expect(await shown(page, 'Reward', 'reward')).toBe((await record(3)).reward);
    expect(asked.size).toBe(0);
    expect(await seriousFaults(page)).toEqual([]);
    expect(complaints).toEqual([]);

    await dashboard.close();
    await page.getByText('no connection').waitFor();
    await until(({ kind }) => kind === 'update');
    dashboard = await startDashboard({ ...options, port: dashboard.port });
    await page.locator('[data-chart="Reward"] [data-x="4"]').waitFor();
    await expect.poll(() => page.locator('#connection').textContent()).toBe('');
    complaints.length = 0; // of the server that was not there

    page.once('dialog', (dialog) => dialog.accept());
    await page.reload(); // a new server has a new token
    await page.getByRole('button', { name: 'stop' }).click();
    await expect.poll(() => stop.signal.aborted).toBe(true);
    await expect(until(() => false)).rejects.toThrow(InterruptedError);
    await expect.poll(() => page.locator('#status').textContent()).toMatch(/^interrupted/);
    expect(await page.getByRole('button', { name: 'stop' }).isVisible()).toBe(false);
    expect(complaints).toEqual([]);
    expect([...hosts]).toEqual([`127.0.0.1:${dashboard.port}`]);
  });

  test('previews, probes, another run beside, keys, and no serious fault in dark at 400 pixels', async () => {
    const [first, second] = [join(folder, 'first'), join(folder, 'second')];
    await makeRun(first, { previews: true });
    await makeRun(second, { updates: 5 });
    const dashboard = await start({ runs: [first, second] });
    const { page, complaints } = await openPage(browser, {
      viewport: { width: 400, height: 900 },
      colorScheme: 'dark',
    });
    await page.goto(dashboard.url);
    await page.locator('.tiles.pictures .tile').first().waitFor();
    expect(await page.locator('#first, #run').inputValue()).toBe('first');
    expect(await page.locator('#second').inputValue()).toBe('second');
    expect(await shown(page, 'Reward', 'reward')).toBe(1.03);
    expect(await shown(page, 'Reward', 'reward (beside)')).toBe(1.05);
    expect(await shown(page, 'Rank agreement of previews with final rewards', 'step 1')).toBe(0.5);
    expect(await shown(page, 'Held out: reward', 'reward')).toBe(1);
    const lost = page.locator('.row').first().locator('.tile').last();
    expect(await lost.getAttribute('aria-label')).toBe('sample 2, reward –, pruned');

    await page.locator('.row').first().locator('.tile').first().focus();
    await page.keyboard.press('ArrowRight');
    expect(await page.locator('.readout').textContent()).toBe(
      'Sample 3: 0.2 at step 1, kept; 0.25 at the end, advantage 0',
    );
    expect(await page.locator('.tile.same').count()).toBe(2);
    await page.locator('[data-chart="Reward"] .plot').focus();
    await page.keyboard.press('ArrowRight');
    expect(await shown(page, 'Reward', 'reward')).toBe(1.01);
    await page.locator('#group').focus();
    await page.keyboard.press('Home');
    await page.getByText('its previews are not recorded').waitFor();
    await page.locator('#curves select').selectOption('x/seconds');
    await page.locator('[data-chart="Reward"] [data-x="10"]').first().waitFor();
    await page.locator('.samples button').last().click();
    expect(await page.locator('dialog img').count()).toBe(2);
    await page.keyboard.press('Escape');
    expect(await page.locator('dialog').isVisible()).toBe(false);

    expect(await page.evaluate<number>(overflow)).toBe(0);
    expect(await seriousFaults(page)).toEqual([]);
    expect(complaints).toEqual([]);
    for (const width of [360, 3840]) {
      await page.setViewportSize({ width, height: 1000 });
      expect(await page.evaluate<number>(overflow), String(width)).toBe(0);
    }
  });

  test('a prompt and a log of HTML are shown as text, and a deleted run is said to be gone', async () => {
    const prompt = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
    const run = join(folder, 'harm');
    await makeRun(run, { prompt });
    const dashboard = await start({ runs: [run] });
    const { page, complaints } = await openPage(browser);
    await page.goto(dashboard.url);
    // Each part of the page comes when its own data is there.
    for (const part of ['.prompt', '.log']) await page.locator(part, { hasText: prompt }).waitFor();
    expect(await page.locator('.prompt').textContent()).toBe(prompt);
    await expect.poll(() => page.title(), { timeout: 30_000 }).toBe('3/3 harm');
    expect(await page.title()).toBe('3/3 harm');
    expect(await page.locator('main img[src="x"], main script').count()).toBe(0);
    expect(complaints).toEqual([]);
    await rm(run, { recursive: true });
    await page.getByText('the folder of this run is gone').waitFor();
    expect(await shown(page, 'Reward', 'reward')).toBe(1.03);
  });

  test('workers: who does what, why one does not, live, as text, readable in dark and at 360 pixels', async () => {
    const [run, alone] = [join(folder, 'worked'), join(folder, 'alone')];
    await makeRun(run, { status: 'running' });
    await makeRun(alone);
    const hold = await holdFolder(run);
    const dashboard = await start({ runs: [run, alone] });
    const { page, complaints } = await openPage(browser, {
      viewport: { width: 1280, height: 900 },
      colorScheme: 'dark',
    });
    await page.goto(dashboard.url);
    await page.locator('body[data-ready]').waitFor();
    const panel = page.locator('#workers');
    expect(await panel.isVisible()).toBe(false);

    const harm = '<img src=x onerror="document.title=1">';
    const seen = (ago: number) => new Date(Date.now() - 1000 * ago).toISOString();
    const workers = [
      madeWorker({ name: 'a:1', state: 'left', groups: 4, seen: seen(300) }),
      madeWorker({ name: 'a:2', state: 'working', groups: 1280 }),
      madeWorker({ name: 'w'.repeat(200), adapter: 'x'.repeat(300), state: 'loading' }),
      madeWorker({ name: harm, adapter: harm, state: 'refused', reason: harm }),
      madeWorker({ name: 'a:3', state: 'aside', reason: 'reward mine: it is tired' }),
      madeWorker({ name: 'a:4', state: 'silent', seen: seen(40) }),
    ];
    await writeWorkers(run, workers);
    await panel.waitFor();
    const rows = panel.getByRole('row');
    const texts = async (): Promise<string[]> =>
      (await rows.allInnerTexts()).slice(1).map((text) => text.split(/\s*[\n\t]\s*/).join(' | '));
    expect(await panel.getByRole('status').textContent()).toBe('2 at work, 1 set aside, 1 refused, 1 silent, 1 left');
    expect(await panel.textContent()).toContain('queue at redis://queue.example:6379');
    const [first, , aside, refused, silent, left] = await texts();
    expect(first).toMatch(/^a:2 \| an adapter \| working \| 1280 \| \d s ago$/);
    expect(aside).toMatch(/^a:3 \| an adapter \| aside \| reward mine: it is tired \| 0 \| \d s ago$/);
    expect(refused).toContain(`${harm} | ${harm} | refused | ${harm} | 0 | `);
    expect(silent).toMatch(/^a:4 .* silent \| 0 \| 4\d s ago$/);
    expect(left).toBe('a:1 | an adapter | left | 4 | 5 min ago');
    expect(await page.locator('main img[src="x"]').count()).toBe(0);
    expect(await seriousFaults(page)).toEqual([]);

    const told = await rows.nth(1).elementHandle();
    await expect.poll(async () => (await texts())[4], soon).not.toBe(silent); // seconds pass by themselves
    await writeWorkers(run, [madeWorker({ name: 'a:2', groups: 1288 })]);
    await expect.poll(async () => (await texts()).length, soon).toBe(1);
    expect((await texts())[0]).toMatch(/^a:2 \| an adapter \| idle \| 1288 \| \d s ago$/);
    expect(await told!.evaluate((row) => row.isConnected)).toBe(true); // who reads a row keeps it
    expect(await panel.getByRole('status').textContent()).toBe('1 at work');

    await writeWorkers(run, workers);
    for (const width of [400, 360]) {
      await page.setViewportSize({ width, height: 900 });
      await expect.poll(() => rows.count(), soon).toBe(7);
      expect(await page.evaluate<number>(overflow), String(width)).toBe(0);
      expect(await panel.locator('.scroll').evaluate((each) => each.scrollWidth - each.clientWidth)).toBe(0);
      expect(await panel.getByRole('rowheader').count()).toBe(6);
      expect(await panel.getByRole('columnheader').count()).toBe(4);
      expect(await seriousFaults(page)).toEqual([]);
    }

    await hold.release(); // its trainer was killed
    await expect.poll(() => panel.getByRole('status').textContent(), soon).toBe('2 worked, 1 refused');
    await page.locator('#run').selectOption('alone');
    await expect.poll(() => panel.isVisible(), soon).toBe(false);
    expect(await page.title()).toBe('3/3 alone');
    expect(complaints).toEqual([]);
  });

  test('of 10000 updates the first paint is within a second, and the newest value is exact', async () => {
    const run = join(folder, 'long');
    await makeRun(run, { updates: 10_000 });
    const dashboard = await start({ runs: [run] });
    const { page, complaints } = await openPage(browser);
    await page.goto(dashboard.url);
    await page.locator('[data-chart="Reward"] [data-x="10000"]').waitFor();
    const painted = await page.evaluate<number>('performance.getEntriesByName("first-contentful-paint")[0].startTime');
    expect(painted).toBeLessThan(1000);
    expect(await page.evaluate<number>('performance.now()')).toBeLessThan(4000);
    expect(await shown(page, 'Reward', 'reward')).toBe(101);
    expect(await page.locator('#curves .tools').textContent()).toMatch(/\d+ of 10000 updates are drawn/);
    expect(complaints).toEqual([]);
  });

  test('no run yet: the page says so, and has no fault', async () => {
    const dashboard = await start({ runs: [folder] });
    const empty = await start({ runs: [join(packageRoot(), 'grpo')] });
    for (const { url } of [dashboard, empty]) {
      const { page, complaints } = await openPage(browser);
      await page.goto(url);
      await page.locator('body[data-ready]').waitFor();
      expect(complaints).toEqual([]);
      await page.close();
    }
  });
});
