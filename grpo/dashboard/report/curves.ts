/** The curves of a report: runs side by side in each chart. */

import type { RunConfig } from '../../config.js';
import { shownRewards } from '../../finetune/report/results.js';
import type { Columns } from '../feed/columns.js';
import type { RunFeed } from '../feed/run_feed.js';
import { type Line, lineChart } from './charts.js';
import { type Html, html } from './html.js';

/** A run that is reported. */
export interface ReportedRun {
  readonly name: string;
  readonly feed: RunFeed;
  /** Undefined where it can't be read. */
  readonly config: RunConfig | undefined;
  /** What is trained on: rewards and their factors in the sum. */
  readonly weights: Readonly<Record<string, number>>;
}

const mostPoints = 400; // more than a chart has pixels for

/** A chart, and what it shows: labels with names of columns, and of a deviation that makes a band. */
const definitions: readonly { title: string; columns: readonly (readonly [string, string, string?])[] }[] = [
  { title: 'Reward, with a band of one deviation', columns: [['reward', 'reward', 'reward_std']] },
  {
    title: 'Spread of rewards in a group',
    columns: [
      ['all', 'spread/all'],
      ['kept', 'spread/kept'],
    ],
  },
  { title: 'KL', columns: [['kl', 'kl']] },
  { title: 'Share of ratios clipped', columns: [['clipped', 'clip_ratio/region_mean']] },
  { title: 'Norm of the gradient', columns: [['gradient', 'grad_norm']] },
];

export function curvesHtml(runs: readonly ReportedRun[]): Html {
  const thinned = runs.map(({ name, feed }) => ({
    of: runs.length > 1 ? ` (${name})` : '',
    feed,
    columns: feed.metrics.thinned(mostPoints),
  }));
  const charts = definitions.map(({ title, columns }) =>
    lineChart(
      title,
      thinned.flatMap((run) => columns.map(([label, ...names]) => lineOf(label + run.of, run.columns, ...names))),
    ),
  );
  const names = new Set(
    runs.flatMap(({ feed, weights }) =>
      feed.evaluations.flatMap((each) => shownRewards(rewardsOf(each), weights).map(([name]) => name)),
    ),
  );
  const heldOut = [...names].map((name) =>
    lineChart(
      `Held out: ${name}, with its 95 % interval`,
      thinned.map(({ of, feed }) => heldOutLine(name, of, feed.evaluations)),
    ),
  );
  const ranks = lineChart('Rank agreement of previews with final rewards', thinned.flatMap(rankLines));
  const shown = [...charts.slice(0, 2), ranks, ...heldOut, ...charts.slice(2)].filter((chart) => chart !== undefined);
  return shown.length > 0 ? html`<div class="charts">${shown}</div>` : html`<p class="soft">No update is done yet.</p>`;
}

function lineOf(label: string, columns: Columns, name: string, deviation?: string): Line {
  const x = columns['x/update'] ?? [];
  const y = columns[name] ?? [];
  const around = deviation ? columns[deviation] : undefined;
  if (!around) return { label, x, y };
  const border = (sign: number) => y.map((value, i) => (value === null ? null : value + sign * (around[i] ?? 0)));
  return { label, x, y, low: border(-1), high: border(1) };
}

type JsonObject = Readonly<Record<string, unknown>>;

const objectOf = (value: unknown): JsonObject => (typeof value === 'object' && value !== null ? { ...value } : {});
const rewardsOf = (record: JsonObject): JsonObject => objectOf(record.rewards);
const numberOf = (value: unknown): number | null => (typeof value === 'number' ? value : null);
const numbersOf = (value: unknown): (number | null)[] => (Array.isArray(value) ? value.map(numberOf) : []);

function heldOutLine(name: string, of: string, evaluations: readonly JsonObject[]): Line {
  const points = evaluations.filter((record) => name in rewardsOf(record));
  const column = (key: 'mean' | 'low' | 'high') =>
    points.map((record) => numberOf(objectOf(rewardsOf(record)[name])[key]));
  return {
    label: name + of,
    x: points.map(({ update }) => numberOf(update)),
    y: column('mean'),
    low: column('low'),
    high: column('high'),
    points: true,
  };
}

/** Spearman's coefficient of each selection step's previews, by the probes; none where a run has none. */
function rankLines({ of, feed }: { readonly of: string; readonly feed: RunFeed }): Line[] {
  const { probes } = feed;
  const steps = new Set(probes.flatMap((probe) => numbersOf(probe.steps)));
  return [...steps].map((step) => ({
    label: `step ${step}${of}`,
    x: probes.map(({ update }) => numberOf(update)),
    y: probes.map((probe) => numbersOf(probe.spearman)[numbersOf(probe.steps).indexOf(step)] ?? null),
    points: true,
  }));
}
