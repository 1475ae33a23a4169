/** The funnel of a group as HTML: a row a selection, samples by falling reward, kept ones framed. */

import { short } from './charts.js';
import { type Html, html } from './html.js';
import { type Budget, pictureData } from './pictures.js';

type JsonObject = Readonly<Record<string, unknown>>;

/** What a selection saw, or the end. */
interface Row {
  readonly title: string;
  readonly samples: readonly number[];
  readonly rewards: readonly (number | null)[];
  readonly kept: readonly number[];
  readonly strip: Strip | undefined;
}

/** A file with the pictures of a row in a grid, as previews/*.json names it. */
interface Strip {
  readonly file: string;
  readonly columns: number;
  readonly samples: readonly number[];
}

const rewardsOf = (value: unknown): (number | null)[] =>
  Array.isArray(value) ? value.map((each) => (typeof each === 'number' ? each : null)) : [];
const numbers = (value: unknown): number[] => (Array.isArray(value) ? value.map(Number) : []);
const objects = (value: unknown): JsonObject[] =>
  Array.isArray(value) ? value.filter((each): each is JsonObject => typeof each === 'object' && each !== null) : [];

const stripOf = (value: JsonObject | undefined): Strip | undefined =>
  typeof value?.file === 'string' && typeof value.columns === 'number'
    ? { file: value.file, columns: value.columns, samples: numbers(value.samples) }
    : undefined;

function rowsOf(record: JsonObject, previews: JsonObject | null): Row[] {
  const selections = objects(record.selections).map((selection): Row => {
    const [samples, kept] = [numbers(selection.samples), numbers(selection.kept)];
    const strip = stripOf(objects(previews?.selections).find(({ step }) => step === selection.step));
    const rewards = rewardsOf(selection.rewards);
    return { title: `step ${selection.step}: ${samples.length} → ${kept.length}`, samples, rewards, kept, strip };
  });
  const survivors = numbers(record.survivors);
  const rewards = rewardsOf(record.rewards);
  const title = `end: ${survivors.length} trained on`;
  const strip = stripOf((previews?.final ?? undefined) as JsonObject | undefined);
  return [...selections, { title, samples: survivors, rewards, kept: survivors, strip }];
}

/** A group by its record of groups.jsonl and the file of its previews; pictures take at most the budget. */
export async function funnelHtml(
  folder: string,
  { record, previews }: { readonly record: JsonObject; readonly previews: JsonObject | null },
  { bytes }: Budget,
): Promise<Html> {
  const rows = rowsOf(record, previews);
  const all = rows.flatMap((row) => row.rewards).filter((reward) => reward !== null);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const parts = await Promise.all(
    rows.map(async (row) => {
      const picture =
        row.strip && (await pictureData(folder, ['previews', row.strip.file], { bytes: bytes / rows.length }));
      return rowHtml(row, picture, (reward) => (high > low ? (reward - low) / (high - low) : 1));
    }),
  );
  return html`<p class="prompt">${String(record.prompt ?? '')}</p>
<p class="soft">update ${String(record.update)}, group ${Number(record.group) + 1}; by falling reward; kept ones are framed</p>
${parts}`;
}

function rowHtml(row: Row, picture: string | undefined, level: (reward: number) => number): Html {
  const { title, samples, rewards, kept, strip } = row;
  const order = samples
    .map((sample, i) => ({ sample, reward: rewards[i] ?? null, isKept: kept.includes(sample) }))
    .sort((a, b) => (b.reward ?? Number.NEGATIVE_INFINITY) - (a.reward ?? Number.NEGATIVE_INFINITY));
  const tiles = order.map(({ sample, reward, isKept }) => {
    const place = strip && picture ? strip.samples.indexOf(sample) : -1;
    const face =
      place >= 0
        ? html`<span class="face" style="${cut(strip!, place)}"></span>`
        : html`<span class="face"><span class="level" style="height:${Math.round(100 * (reward === null ? 0 : level(reward)))}%"></span></span>`;
    const value = reward === null ? '–' : short(reward);
    return html`<li class="tile ${isKept ? 'kept' : 'pruned'}" title="sample ${sample}">${face}<span class="value">${value.slice(0, 6)}</span></li>`;
  });
  // The picture stands once, as a variable that all tiles of the row cut from.
  return html`<section${picture ? html` style="--strip:url(${picture})"` : undefined}><h3>${title}</h3><ul class="tiles">${tiles}</ul></section>`;
}

function cut({ columns, samples }: Strip, place: number): string {
  const rows = Math.ceil(samples.length / columns);
  const share = (at: number, of: number): string => (of > 1 ? `${((100 * at) / (of - 1)).toFixed(3)}%` : '0');
  const at = `${share(place % columns, columns)} ${share(Math.floor(place / columns), rows)}`;
  return `background:var(--strip) ${at} / ${100 * columns}% ${100 * rows}%`;
}
