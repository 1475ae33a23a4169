/** A run, or several side by side, as one file to hand on: nothing in it is fetched, and nothing runs. */
import { basename } from 'node:path';
import { FileError } from '../../../engine/errors.js';
import { writeWhole } from '../../../engine/files.js';
import { version } from '../../../engine/version.js';
import { loadConfig } from '../../finetune/config/file.js';
import { formatCount, formatSeconds } from '../../finetune/report/numbers.js';
import { rewardLabel, shownRewards, summaryFigures } from '../../finetune/report/results.js';
import { findRun } from '../../finetune/run/list.js';
import { totalName } from '../../finetune/run/metrics.js';
import { weightsOf } from '../../finetune/session.js';
import { readInside } from '../../serve/inside.js';
import { RunFeed } from '../feed/run_feed.js';
import { curvesHtml, type ReportedRun } from './curves.js';
import { funnelHtml } from './funnel.js';
import { Html, html, table } from './html.js';
import { pictureData } from './pictures.js';
import { reportStyle } from './style.js';

/** Bytes of all pictures of a report, before they are written as text: the file stays below 3 MB. */
const pictureBytes = 1_900_000;

/** Writes the report of some runs, by their folders or names; the bytes it has. Throws a FileError where one is none. */
export async function writeReport(runs: readonly string[], path: string): Promise<{ readonly bytes: number }> {
  const reported: ReportedRun[] = [];
  for (const given of runs) {
    const folder = await findRun(given);
    if (folder === undefined) throw new FileError(`${given}: no run: expected a folder with run.json`);
    const feed = new RunFeed(folder);
    await feed.refresh();
    // Of an older version it may be refused; the rest of the run can still be told of.
    const config = await loadConfig(folder).catch(() => undefined);
    reported.push({ name: basename(folder), feed, config, weights: config ? weightsOf(config) : {} });
  }
  const text = await reportHtml(reported);
  await writeWhole(path, text);
  return { bytes: Buffer.byteLength(text) };
}

/** The file's text. */
export async function reportHtml(runs: readonly ReportedRun[]): Promise<string> {
  const title = runs.map(({ name }) => name).join(' and ');
  const budget = { bytes: pictureBytes / runs.length };
  const of = (run: ReportedRun): string => (runs.length > 1 ? `: ${run.name}` : '');
  const pictures = await Promise.all(runs.map((run) => picturesHtml(run, of(run), budget)));
  const configurations = await Promise.all(runs.map((run) => configurationHtml(run, of(run))));
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${new Html(reportStyle)}</style>
</head>
<body>
<main>
<h1>${title}</h1>
<p class="soft">winnow ${version}, ${new Date().toISOString().slice(0, 10)}</p>
${table(['run', ...runs.map(({ name }) => name)], factsOf(runs))}
<h2>Held-out rewards</h2>
${resultsHtml(runs)}
${pictures}
<h2>Curves</h2>
${curvesHtml(runs)}
${configurations}
</main>
</body>
</html>
`;
  return page.text;
}

/** What was trained, by what, for how long, on which adapter: a row a fact, a column a run. */
function factsOf(runs: readonly ReportedRun[]): string[][] {
  const row = (name: string, value: (run: ReportedRun) => string | undefined): string[] => [
    name,
    ...runs.map((run) => value(run) ?? 'not recorded'),
  ];
  const info = ({ feed }: ReportedRun) => feed.summary.info;
  return [
    row('model', (run) => basename(info(run)?.model.path ?? '')),
    row('learns', (run) => {
      const model = info(run)?.model;
      return model && `${formatCount(model.trainable)} of ${formatCount(model.parameters)} values`;
    }),
    row('rewards', ({ weights }) => {
      const parts = Object.entries(weights).map(([name, weight]) => `${name} (${weight})`);
      return parts.length > 0 ? parts.join(', ') : undefined;
    }),
    row('funnel', ({ config }) => {
      if (!config) return undefined;
      const { keep, prune_at: at, prune } = config.grpo;
      return `${keep.join(' → ')}, ${prune}${at.length > 0 ? ` at steps ${at.join(', ')}` : ''} of ${config.sampler.steps}`;
    }),
    row('updates', (run) => {
      const known = info(run);
      return known && `${known.updates} of ${known.of}, ${known.status}`;
    }),
    row('time', (run) => formatSeconds(info(run)?.seconds ?? Number.NaN)),
    row('work', (run) => {
      const totals = info(run)?.totals;
      return totals && `${formatCount(totals.calls)} network calls, ${formatCount(totals.trained)} rows trained`;
    }),
    row('adapter', (run) => info(run)?.adapter),
    ...(runs.some(({ feed }) => feed.workers) ? [row('workers', workersOf)] : []),
    row('began', (run) => info(run)?.started.replace('T', ' ').slice(0, 16)),
    row('made by', (run) => {
      const known = info(run);
      return known && `winnow ${known.versions.winnow}${known.git ? `, commit ${known.git.slice(0, 10)}` : ''}`;
    }),
    row('configuration', ({ feed }) => {
      const config = feed.summary.config;
      return config && `${config.preset}${config.changes.length > 0 ? ` with ${config.changes.length} changes` : ''}`;
    }),
  ];
}

const mostWorkers = 8; // that are named: of a hundred the rest is a number

/** Who has drawn for a run, those who drew most first. The address of their queue is left out: a report is handed on. */
function workersOf({ feed }: ReportedRun): string {
  const all = (feed.workers?.workers ?? []).filter(({ groups }) => groups > 0).toSorted((a, b) => b.groups - a.groups);
  if (all.length === 0) return 'none';
  const named = all.slice(0, mostWorkers).map(({ name, adapter, groups }) => `${name} (${adapter}, ${groups} groups)`);
  const rest = all.length > mostWorkers ? [`${all.length - mostWorkers} more`] : [];
  return `${all.length}: ${[...named, ...rest].join('; ')}`;
}

function resultsHtml(runs: readonly ReportedRun[]): Html {
  const rows = runs.flatMap(({ name, feed, weights }) =>
    shownRewards(feed.summary.info?.rewards ?? {}, weights).map(([reward, summary]) => {
      const { before, after, change, interval } = summaryFigures(summary);
      const label = rewardLabel(reward, weights);
      return [
        reward === totalName ? `${label}, trained on` : label,
        ...(runs.length > 1 ? [name] : []),
        before,
        after,
        change,
        interval,
        String(summary.n),
      ];
    }),
  );
  if (rows.length === 0)
    return html`<p class="soft">Not recorded: rewards before and after are there when a run is done.</p>`;
  const head = [
    'reward',
    ...(runs.length > 1 ? ['run'] : []),
    'before',
    'after',
    'difference',
    '95 % interval',
    'pictures',
  ];
  const sorted = runs.length > 1 ? rows.toSorted((a, b) => a[0]!.localeCompare(b[0]!)) : rows;
  return table(head, sorted);
}

/** Samples and funnel of a run; `of` ends their headings. */
async function picturesHtml({ feed }: ReportedRun, of: string, { bytes }: { bytes: number }): Promise<Html> {
  const { folder, summary } = feed;
  const group = await feed.group(summary.newestGroup);
  const { record, previews } = (group ?? {}) as {
    record?: Record<string, unknown>;
    previews?: Record<string, unknown>;
  };
  const funnel = record && (await funnelHtml(folder, { record, previews: previews ?? null }, { bytes: 0.3 * bytes }));
  return html`<h2>Samples before and after${of}</h2>
${await samplesHtml(feed, 0.7 * bytes)}
<h2>Funnel of the last group${of}</h2>
${funnel ?? html`<p class="soft">Not recorded.</p>`}`;
}

/** What a run's configuration changes of its preset, and all of it. */
async function configurationHtml({ feed: { folder, summary } }: ReportedRun, of: string): Promise<Html> {
  const config = (await readInside(folder, 'config.yaml')) ?? '';
  const changes = summary.config?.changes ?? [];
  return html`<h2>Configuration${of}</h2>
${
  changes.length > 0
    ? table(
        ['key', summary.config!.preset, 'this run'],
        changes.map(({ key, preset = '–', run = '–' }) => [key, preset, run]),
      )
    : undefined
}
<details><summary>config.yaml</summary><pre>${config}</pre></details>`;
}

async function samplesHtml({ folder, summary }: RunFeed, bytes: number): Promise<Html> {
  const { samples, beforeAfter } = summary;
  const file = (update: number): string => `${String(update).padStart(6, '0')}.png`;
  const shown = beforeAfter
    ? [{ title: `before, and after ${summary.info?.updates ?? ''} updates`, name: 'before_after.png' }]
    : [...new Set([samples[0], samples.at(-1)])].flatMap((update) =>
        update === undefined
          ? []
          : [{ title: update === 0 ? 'before' : `after ${update} updates`, name: file(update) }],
      );
  const figures = await Promise.all(
    shown.map(async ({ title, name }) => {
      const data = await pictureData(folder, ['samples', name], { bytes: bytes / shown.length });
      return (
        data &&
        html`<figure><figcaption>${title}, same seeds</figcaption><img src="${data}" alt="Samples ${title}, each under its prompt"></figure>`
      );
    }),
  );
  const found = figures.filter((figure) => figure !== undefined && figure !== '');
  return found.length > 0 ? html`<div class="samples">${found}</div>` : html`<p class="soft">Not recorded.</p>`;
}
