/** Curves by uplot, under a legend of text that says the values at the cursor, or the last ones. */
import { el, isNumber, number, replace, styleValue } from '../../serve/page/dom.js';
import uPlot from './vendor/uplot.js';

const height = 170;
const charts = new Set();

/** Some room around the values; around equal ones as much as they are from 0. */
const rangeOf = (_, low, high) => {
  if (low === null) return [0, 1];
  if (low === high) return low === 0 ? [-0.1, 1] : [low - Math.abs(low) / 2, low + Math.abs(low) / 2];
  return uPlot.rangeNum(low, high, 0.08, true);
};

/**
 * A chart that draws lines: { label, x, y, low?, high?, color, dash?, points? }, color being a style's variable. Left and right
 * move its cursor. Charts of one `sync` share it.
 */
export class Chart {
  constructor(title, { sync = 'update', axis = () => 'update', range } = {}) {
    this.sync = sync;
    this.axis = axis;
    this.range = range;
    this.legend = el('ul', { className: 'legend' });
    this.place = el('div', { className: 'plot' });
    this.element = el(
      'figure',
      { className: 'chart', data: { chart: title } },
      el('figcaption', {}, title),
      this.legend,
      this.place,
    );
    this.place.tabIndex = 0;
    this.place.setAttribute('role', 'group');
    this.place.setAttribute('aria-label', `${title}: curve; left and right move along it`);
    this.place.addEventListener('keydown', (event) => this.move(event));
    this.lines = [];
    charts.add(this);
    new ResizeObserver(() => this.resize()).observe(this.place);
  }

  /** Draws lines; those without a value are left out, and a chart without lines is hidden. */
  draw(lines) {
    this.lines = lines.filter(({ y }) => y.some(isNumber));
    this.element.hidden = this.lines.length === 0;
    if (this.element.hidden) return;
    const data = uPlot.join(this.lines.map(({ x, y, low, high }) => (low ? [x, y, low, high] : [x, y])));
    const shape = JSON.stringify([this.axis(), ...this.lines.map(({ label, low, color }) => [label, !!low, color])]);
    if (this.plot && this.shape === shape) this.plot.setData(data);
    else this.build(data);
    this.shape = shape;
    this.readOut();
  }

  build(data) {
    this.plot?.destroy();
    this.series = []; // where each line's values are in the data
    const series = [{ label: this.axis() }];
    const bands = [];
    for (const { color, dash, low, points } of this.lines) {
      this.series.push(series.length);
      const stroke = styleValue(color);
      series.push({
        stroke,
        width: 1.75,
        dash,
        spanGaps: true,
        points: { show: points ?? false, size: 5, fill: stroke },
      });
      if (!low) continue;
      const border = { stroke: 'transparent', width: 0, spanGaps: true, points: { show: false } };
      series.push(border, border);
      bands.push({ series: [series.length - 1, series.length - 2], fill: `${stroke}2b` });
    }
    const line = {
      stroke: styleValue('--soft'),
      font: '11px system-ui, sans-serif',
      grid: { stroke: styleValue('--line'), width: 1 },
      ticks: { show: false },
    };
    const size = (_, values) => Math.max(34, 10 + 6.5 * Math.max(0, ...(values ?? []).map((text) => text.length)));
    this.plot = new uPlot(
      {
        width: Math.max(120, this.place.clientWidth),
        height,
        series,
        bands,
        legend: { show: false },
        scales: { x: { time: false }, y: { range: this.range ?? rangeOf } },
        axes: [
          { ...line, values: (_, values) => values.map(number), size: 28, space: 60 },
          { ...line, values: (_, values) => values.map(number), size, space: 26 },
        ],
        cursor: {
          sync: { key: this.sync, setSeries: false, scales: ['x', null] },
          drag: { x: true, y: false },
          y: false,
        },
        hooks: { setCursor: [() => this.readOut()] },
      },
      data,
      this.place,
    );
  }

  /** The legend: the values at the cursor, or the last ones. */
  readOut() {
    if (!this.plot) return;
    const [xs] = this.plot.data;
    const at = this.plot.cursor.idx;
    const items = this.lines.map(({ label, color, dash }, i) => {
      const values = this.plot.data[this.series[i]];
      let row = at ?? xs.length - 1;
      while (row > 0 && !isNumber(values[row])) row--;
      const mark = el('span', { className: dash ? 'mark dashed' : 'mark', 'aria-hidden': 'true' });
      mark.style.color = `var(${color})`;
      return el(
        'li',
        { data: { series: label, value: String(values[row]), x: String(xs[row]) } },
        mark,
        `${label} `,
        el('output', {}, number(values[row])),
        at === null || at === undefined ? undefined : el('span', { className: 'soft' }, ` at ${number(xs[row])}`),
      );
    });
    replace(this.legend, ...items);
  }

  move(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !this.plot) return;
    event.preventDefault();
    const [xs] = this.plot.data;
    const from = this.plot.cursor.idx ?? (by < 0 ? xs.length : -1);
    const to = Math.min(xs.length - 1, Math.max(0, from + by));
    this.plot.setCursor({ left: this.plot.valToPos(xs[to], 'x'), top: 20 });
  }

  resize() {
    const width = Math.max(120, this.place.clientWidth);
    if (this.plot && this.plot.width !== width) this.plot.setSize({ width, height });
  }

  /** Draws anew, for other colours. */
  rebuild() {
    this.shape = '';
    if (this.lines.length > 0) this.draw(this.lines);
  }
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const chart of charts) chart.rebuild();
});

/** An exponential average without the pull of its start, as TensorBoard smooths; 0 changes nothing. */
export function smooth(values, weight) {
  if (weight === 0 || !values) return values;
  let sum = 0;
  let total = 0;
  return values.map((value) => {
    if (!isNumber(value)) return null;
    sum = weight * sum + (1 - weight) * value;
    total = weight * total + (1 - weight);
    return sum / total;
  });
}
