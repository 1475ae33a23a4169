/** Curves as SVG, in a page or as files of their own. */
import { Html, html } from './html.js';
import { chartStyle } from './style.js';

/** A curve; a value that is null is left out. `low` and `high` make a band. */
export interface Line {
  readonly label: string;
  readonly x: readonly (number | null)[];
  readonly y: readonly (number | null)[];
  readonly low?: readonly (number | null)[];
  readonly high?: readonly (number | null)[];
  /** Marks its points. */
  readonly points?: boolean;
}

const width = 380;
const height = 210;
const inner = { left: 52, right: 8, top: 8, bottom: 24 };

type Point = readonly [x: number, y: number];

export interface ChartOptions {
  /** What the curves stand over. Default updates. */
  readonly over?: string;
}

const hasValues = ({ y }: Line): boolean => y.some((value) => value !== null);
const finite = (values: readonly (number | null)[]): number[] =>
  values.filter((value): value is number => value !== null && Number.isFinite(value));

/** A chart of some curves with its legend; undefined where no curve has a value. */
export function lineChart(
  title: string,
  lines: readonly Line[],
  { over = 'updates' }: ChartOptions = {},
): Html | undefined {
  const drawn = lines.filter(hasValues);
  if (drawn.length === 0) return undefined;
  const labels = drawn.map(
    ({ label, y }, i) =>
      html`<li><span class="mark c${color(i)}"></span>${label} <b>${short(finite(y).at(-1) ?? Number.NaN)}</b></li>`,
  );
  return html`<figure class="chart">
<figcaption>${title}</figcaption>
<ul class="legend">${labels}</ul>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title} over ${over}">
${plotOf(drawn)}
${over === 'updates' ? undefined : axisName(over)}
</svg>
</figure>`;
}

/** The same as the text of an SVG file, with title, legend and what its curves stand over; undefined where none has a value. */
export function chartFile(
  title: string,
  lines: readonly Line[],
  { over = 'updates' }: ChartOptions = {},
): string | undefined {
  const drawn = lines.filter(hasValues);
  if (drawn.length === 0) return undefined;
  const [above, row] = [24, 16];
  const legend = drawn.map(({ label }, i) => {
    const y = above + height + row * (i + 1);
    return html`<line class="line c${color(i)}" x1="${inner.left}" x2="${inner.left + 18}" y1="${y - 4}" y2="${y - 4}"/><text x="${inner.left + 24}" y="${y}">${label}</text>`;
  });
  const full = above + height + row * drawn.length + 10;
  return html`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${full}" width="${2 * width}" role="img" aria-label="${title} over ${over}" font-family="system-ui, sans-serif">
<style>${new Html(chartStyle)}
svg { background: var(--back); }</style>
<rect width="${width}" height="${full}" fill="var(--back)"/>
<text x="${inner.left}" y="16" font-weight="600">${title}</text>
<g transform="translate(0 ${above})">
${plotOf(drawn)}
${axisName(over)}
</g>
${legend}
</svg>
`.text;
}

const axisName = (over: string): Html =>
  html`<text x="${width - inner.right}" y="${height - inner.bottom - 6}" text-anchor="end">${over}</text>`;

/** Grid, bands and curves. */
function plotOf(drawn: readonly Line[]): Html[] {
  const [fromX, toX] = spanOf(drawn.flatMap(({ x }) => finite(x)));
  const [fromY, toY] = spanOf(
    drawn.flatMap(({ y, low = [], high = [] }) => finite([...y, ...low, ...high])),
    0.05,
  );
  const place = ([x, y]: Point): Point => [
    inner.left + ((x - fromX) / (toX - fromX)) * (width - inner.left - inner.right),
    height - inner.bottom - ((y - fromY) / (toY - fromY)) * (height - inner.top - inner.bottom),
  ];
  const pointsOf = (x: Line['x'], y: Line['y']): Point[] =>
    x.flatMap((at, i) => {
      const value = y[i];
      return at === null || value === null || value === undefined ? [] : [place([at, value])];
    });
  const curves = drawn.map(({ x, y, low, high, points }, i) => {
    const line = pointsOf(x, y);
    const band = low && high ? [...pointsOf(x, high), ...pointsOf(x, low).reverse()] : [];
    return new Html(
      [
        band.length > 2 ? `<path class="band c${color(i)}" d="${path(band)}Z"/>` : '',
        `<path class="line c${color(i)}" d="${path(line)}"/>`,
        ...(points
          ? line.map(([cx, cy]) => `<circle class="dot c${color(i)}" cx="${d(cx)}" cy="${d(cy)}" r="3"/>`)
          : []),
      ].join(''),
    );
  });
  return [...gridOf([fromX, toX], [fromY, toY], place), ...curves];
}

/** Of a curve: a colour by its number, dashed where colours come again. */
const color = (i: number): string => `${(i % 6) + 1}${i < 6 ? '' : ' again'}`;

function gridOf(x: readonly [number, number], y: readonly [number, number], place: (point: Point) => Point): Html[] {
  const right = width - inner.right;
  const rows = ticks(...y, 4).map((value) => {
    const [, at] = place([x[0], value]);
    return html`<line class="grid" x1="${inner.left}" x2="${right}" y1="${d(at)}" y2="${d(at)}"/><text x="${inner.left - 6}" y="${d(at + 3.5)}" text-anchor="end">${short(value)}</text>`;
  });
  const columns = ticks(...x, 5).map((value) => {
    const [at] = place([value, y[0]]);
    return html`<text x="${d(at)}" y="${height - 8}" text-anchor="middle">${short(value)}</text>`;
  });
  return [...rows, ...columns];
}

/** Round values between two, about so many. */
export function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough * 0.999)!;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** The least and the largest value with some room, never equal. */
function spanOf(values: readonly number[], room = 0): [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (!(high > low)) [low, high] = Number.isFinite(low) ? [low - 0.5, low + 0.5] : [0, 1];
  const extra = room * (high - low);
  return [low - extra, high + extra];
}

const d = (value: number): string => value.toFixed(1);
const path = (points: readonly Point[]): string =>
  points.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${d(x)} ${d(y)}`).join('');

/** A number in four digits. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) return value.toExponential(1).replace('e+', 'e');
  return String(Number(value.toPrecision(4)));
}
