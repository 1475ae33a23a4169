/** Reports: everything in one file, nothing fetched, nothing run, small enough whatever the pictures are. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { writeReport } from '../../../grpo/dashboard/index.js';
import { ticks } from '../../../grpo/dashboard/report/charts.js';
import { html } from '../../../grpo/dashboard/report/html.js';
import { halve } from '../../../grpo/dashboard/report/pictures.js';
import { decodePng, encodePng } from '../../../models/pictures/png.js';
import { temporaryFolder } from '../../temporary.js';
import { noBrowser, openBrowser, openPage, seriousFaults } from './browser.js';
import { madeWorker, makeRun, writeWorkers } from './run_folder.js';

const folder = temporaryFolder();
const out = join(folder, 'report.html');

async function reportOf(...runs: string[]): Promise<string> {
  const { bytes } = await writeReport(runs, out);
  const text = await readFile(out, 'utf8');
  expect(Buffer.byteLength(text)).toBe(bytes);
  return text;
}

/** Addresses that a browser would fetch. */
const fetched = (text: string): string[] =>
  [...text.matchAll(/(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)/g)]
    .map(([, address]) => address!)
    .filter((a) => !a.startsWith('data:'));

test('a run: what it was, its rewards, curves, samples, funnel with previews, configuration', async () => {
  const run = join(folder, 'first');
  await makeRun(run, { previews: true, prompt: '<script>alert(1)</script> & "more"' });
  const text = await reportOf(run);
  for (const part of [
    'an adapter',
    '3 of 3, done',
    '6 s',
    '+1.000',
    '0.750 to 1.250',
    'step 1: 4 → 3',
    'end: 3 trained on',
    'seed: 7',
  ])
    expect(text).toContain(part);
  expect(text.match(/<svg/g)!.length).toBe(7);
  expect(text).toContain('step 1 <b>0.5</b>'); // the probe's rank agreement
  expect(text.match(/data:image\/png/g)!.length).toBe(4); // samples before and after, two strips of previews
  expect(text).toContain('&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;');
  expect(text).not.toMatch(/<script|\son\w+="/);
  expect(fetched(text)).toEqual([]);
  expect(text).toContain(`content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"`);
});

test('several runs are compared in every table and chart', async () => {
  await makeRun(join(folder, 'a'));
  await makeRun(join(folder, 'b'), { updates: 5 });
  const text = await reportOf(join(folder, 'a'), join(folder, 'b'));
  expect(text).toContain('<h1>a and b</h1>');
  expect(text).toContain('reward (a) <b>1.03</b>');
  expect(text).toContain('reward (b) <b>1.05</b>');
  expect(text).toContain('Samples before and after: b');
});

test('who worked is told of, those who drew most first, and nothing of it where nobody did', async () => {
  const [run, alone] = [join(folder, 'worked'), join(folder, 'alone')];
  await makeRun(run);
  await makeRun(alone);
  expect(await reportOf(alone)).not.toContain('<th scope="row">workers<');
  await writeWorkers(run, [
    madeWorker({ name: 'first', groups: 1 }),
    madeWorker({ name: 'none', state: 'refused', reason: 'another model' }),
    madeWorker({ name: '<b>second</b>', adapter: 'a "GPU"', groups: 12 }),
  ]);
  const text = await reportOf(run);
  expect(text).toContain(
    '<th scope="row">workers</th><td>2: &lt;b&gt;second&lt;/b&gt; (a &quot;GPU&quot;, 12 groups); first (an adapter, 1 groups)</td>',
  );
  expect(text).not.toContain('queue.example');
  expect(await reportOf(run, alone)).toMatch(/<th scope="row">workers<\/th><td>2: .*<\/td>\n?<td>none<\/td>/);
  await writeWorkers(
    run,
    Array.from({ length: 70 }, (_, i) => madeWorker({ name: `w${i}`, groups: i + 1 })),
  );
  expect(await reportOf(run)).toMatch(/70: w69 \(an adapter, 70 groups\); .*w62 \(an adapter, 63 groups\); 62 more</);
});

test('what a run has not recorded is said to be missing', async () => {
  const run = join(folder, 'bare');
  await makeRun(run, { updates: 0 });
  for (const name of ['samples', 'groups.jsonl', 'evaluations.jsonl', 'config.yaml'])
    await rm(join(run, name), { recursive: true });
  const text = await reportOf(run);
  expect(text).toContain('No update is done yet');
  expect(text.match(/[Nn]ot recorded/g)!.length).toBeGreaterThanOrEqual(4);
  await expect(writeReport([join(folder, 'nothing')], out)).rejects.toThrow(/nothing: no run/);
});

test('large pictures are halved until the file has less than 3 MB', async () => {
  const run = join(folder, 'large');
  await makeRun(run, { previews: true });
  let state = 1;
  const noise = Uint8Array.from({ length: 3 * 1024 * 1024 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
  const png = encodePng({ width: 1024, height: 1024, rgb: noise });
  for (const name of [
    'samples/000000.png',
    'samples/000003.png',
    'previews/000003_0_1.png',
    'previews/000003_0_final.png',
  ])
    await writeFile(join(run, name), png);
  const text = await reportOf(run, join(folder, 'a'));
  expect(text.length).toBeLessThan(3e6);
  expect(text.match(/data:image\/png/g)!.length).toBe(6);
  const [, data] = /data:image\/png;base64,([^"]+)" alt/.exec(text)!;
  expect(decodePng(Buffer.from(data!, 'base64')).picture.width).toBeLessThan(1024);
});

test('halving takes the mean of four, and ticks are round', () => {
  const rgb = Uint8Array.from([0, 10, 100, 200].flatMap((value) => [value, value, value]));
  expect([...halve({ width: 2, height: 2, rgb }).rgb]).toEqual([78, 78, 78]);
  expect(ticks(0, 1, 4)).toEqual([0, 0.5, 1]);
  expect(ticks(-0.3, 0.31, 5)).toEqual([-0.2, 0, 0.2]);
  expect(ticks(3, 20, 4)).toEqual([5, 10, 15, 20]);
});

test('a template escapes what is put in', () => {
  expect(html`<p title="${'"'}">${"<'&"}${html`<b>${1}</b>`}${undefined}</p>`.text).toBe(
    '<p title="&quot;">&lt;&#39;&amp;<b>1</b></p>',
  );
});

test.skipIf(noBrowser)(
  `a browser shows it without a request or a serious fault${noBrowser ? ` (skipped: ${noBrowser})` : ''}`,
  async () => {
    const run = join(folder, 'shown');
    await makeRun(run, { previews: true });
    const adapter = 'an adapter with quite a long name: its version (and that of its driver)';
    await writeWorkers(run, [madeWorker({ adapter, groups: 1 }), madeWorker({ name: 'x'.repeat(200), groups: 2 })]);
    await reportOf(run);
    const browser = await openBrowser();
    try {
      const { page, hosts, complaints } = await openPage(browser, { viewport: { width: 400, height: 900 } });
      await page.goto(`file://${out}`);
      expect(await page.evaluate('[...document.images].every((image) => image.naturalWidth > 0)')).toBe(true);
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(400);
      const heads = page.locator('table').first().locator('tbody th');
      const lines = await heads.evaluateAll((all) =>
        all.map((head) => {
          const text = head.ownerDocument.createRange();
          text.selectNodeContents(head);
          return text.getClientRects().length;
        }),
      );
      expect(new Set(lines), 'words of row heads are not broken').toEqual(new Set([1]));
      expect(complaints).toEqual([]);
      expect([...hosts]).toEqual(['']);
      expect(await seriousFaults(page)).toEqual([]);
    } finally {
      await browser.close();
    }
  },
);
