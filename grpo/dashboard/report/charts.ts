/** Curves as SVG. */
import { Html, html } from './html.js';

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

/** A chart of some curves over updates with its legend; undefined where no curve has a value. */
export function lineChart(title: string, lines: readonly Line[]): Html | undefined {
  const drawn = lines.filter(({ y }) => y.some((value) => value !== null));
  if (drawn.length === 0) return undefined;
  const finite = (values: readonly (number | null)[]): number[] =>
    values.filter((value): value is number => value !== null && Number.isFinite(value));
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
  const labels = drawn.map(
    ({ label, y }, i) =>
      html`<li><span class="mark c${color(i)}"></span>${label} <b>${short(finite(y).at(-1) ?? Number.NaN)}</b></li>`,
  );
  return html`<figure class="chart">
<figcaption>${title}</figcaption>
<ul class="legend">${labels}</ul>
<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${title} over updates">
${gridOf([fromX, toX], [fromY, toY], place)}
${curves}
</svg>
</figure>`;
}

const color = (i: number): number => (i % 6) + 1;

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
