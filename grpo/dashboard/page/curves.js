/** The curves of a run, and of another beside it. */

import { el, isNumber, replace } from '../../serve/page/dom.js';
import { Chart, smooth } from './chart.js';
import { firstRun, onChange, secondRun } from './store.js';

const colors = ['--c1', '--c2', '--c3', '--c4', '--c5', '--c6'];
const view = { x: 'x/update', smoothing: 0 };
const axisNames = { 'x/update': 'update', 'x/seconds': 'seconds', 'x/calls': 'network calls' };

/** Which columns a chart shows: pairs of a label and a name, and the name of a deviation that makes a band. */
const definitions = [
  { title: 'Reward', columns: () => [['reward', 'reward', 'reward_std']] },
  { title: 'Each reward', columns: (names) => each(names, /^rewards\/(.+)\/mean$/) },
  {
    title: 'KL',
    columns: () => [
      ['kl', 'kl'],
      ['approx. kl', 'approx_kl'],
    ],
  },
  { title: 'Share of ratios clipped', columns: () => [['clipped', 'clip_ratio/region_mean']] },
  { title: 'Norm of the gradient', columns: () => [['gradient', 'grad_norm']] },
  { title: 'Share of groups without spread', columns: () => [['groups', 'frac_reward_zero_std']] },
  {
    title: 'Seconds by phase',
    columns: () => [
      ['drawing', 'seconds/sample'],
      ['rewards', 'seconds/reward'],
      ['training', 'seconds/train'],
    ],
  },
];

const each = (names, pattern) => names.flatMap((name) => (pattern.test(name) ? [[pattern.exec(name)[1], name]] : []));

/** The runs that are shown: the second is dashed. */
const shownRuns = () => {
  const [first, second] = [firstRun(), secondRun()];
  const known = first ? [{ run: first, mark: '' }] : [];
  return second ? [...known, { run: second, mark: ' (beside)', dash: [5, 4] }] : known;
};

/** Lines of some columns of every run that is shown. */
export function linesOf(columns, { smoothing = view.smoothing, x = view.x } = {}) {
  return shownRuns().flatMap(({ run, mark, dash }) =>
    columns(Object.keys(run.columns)).map(([label, name, deviation], i) => {
      const y = smooth(run.columns[name], smoothing) ?? [];
      const line = { label: label + mark, x: run.columns[x] ?? [], y, color: colors[i % colors.length], dash };
      const around = deviation && smooth(run.columns[deviation], smoothing);
      if (!around) return line;
      const border = (sign) => y.map((value, row) => (isNumber(value) ? value + sign * (around[row] ?? 0) : null));
      return { ...line, low: border(-1), high: border(1) };
    }),
  );
}

/** Where an update lies on the chosen axis; before the first, at 0. */
function place(run, update, x = view.x) {
  if (x === 'x/update') return update;
  const updates = run.columns['x/update'] ?? [];
  const row = updates.findLastIndex((value) => value <= update);
  return row < 0 ? 0 : run.columns[x][row];
}

/** Lines of records by update: of each name, a value and, where there is one, an interval. */
export function recordLines(records, valuesOf, x = view.x) {
  return shownRuns().flatMap(({ run, mark, dash }) => {
    const sorted = [...(run[records] ?? [])].sort((a, b) => a.update - b.update);
    const names = [...new Set(sorted.flatMap((record) => Object.keys(valuesOf(record))))];
    return names.map((name, i) => {
      const all = sorted.map((record) => [place(run, record.update, x), valuesOf(record)[name]]);
      const points = all.filter(([at], row) => row === 0 || at > all[row - 1][0]);
      const column = (key) => points.map(([, value]) => value?.[key] ?? null);
      return {
        label: name + mark,
        x: points.map(([at]) => at),
        y: column('mean'),
        ...(points.some(([, value]) => isNumber(value?.low)) && { low: column('low'), high: column('high') }),
        color: colors[i % colors.length],
        dash,
        points: true,
      };
    });
  });
}

/** Held-out rewards, which each have a chart: on a common scale the smaller ones would be flat lines. */
function evaluationNames() {
  const rewards = Object.assign({}, ...shownRuns().flatMap(({ run }) => run.evaluations.map((each) => each.rewards)));
  const names = Object.keys(rewards);
  const isSum = (name) => name !== 'reward' && Math.abs(rewards[name].mean - rewards.reward?.mean) < 1e-12;
  return names.filter((name) => !isSum(name)); // a single reward of weight 1 is the sum, and is not drawn twice
}

export function mountCurves(panel) {
  const axis = () => axisNames[view.x];
  const charts = definitions.map((definition) => ({ ...definition, chart: new Chart(definition.title, { axis }) }));
  const heldOut = new Map(); // by the reward's name
  const grid = el('div', { className: 'charts' }, ...charts.map(({ chart }) => chart.element));
  const draw = () => {
    for (const { chart, columns } of charts) chart.draw(linesOf(columns));
    for (const name of evaluationNames()) {
      if (!heldOut.has(name)) {
        const chart = new Chart(`Held out: ${name}`, { axis });
        heldOut.set(name, chart);
        grid.insertBefore(chart.element, charts[2].chart.element);
      }
    }
    for (const [name, chart] of heldOut)
      chart.draw(recordLines('evaluations', ({ rewards }) => (rewards[name] ? { [name]: rewards[name] } : {})));
    const empty = charts.every(({ chart }) => chart.element.hidden);
    note.textContent = empty ? 'No update is done yet.' : shownNote();
  };
  const note = el('p', { className: 'soft' });
  const choice = el(
    'select',
    { on: { change: ({ target }) => set({ x: target.value }) } },
    ...Object.entries(axisNames).map(([value, name]) => el('option', { value }, name)),
  );
  const slider = el('input', { type: 'range', min: 0, max: 0.98, step: 0.02, value: 0 });
  slider.addEventListener('input', () => set({ smoothing: Number(slider.value) }));
  const set = (change) => {
    Object.assign(view, change);
    draw();
  };
  replace(
    panel,
    panel.querySelector('h2'),
    el('div', { className: 'tools' }, el('label', {}, 'across ', choice), el('label', {}, 'smoothing ', slider), note),
    grid,
  );
  onChange((what) => {
    if (what === 'curves' || what === 'run') draw();
  });
}

function shownNote() {
  const { columns, length } = firstRun() ?? { columns: {}, length: 0 };
  const points = columns['x/update']?.length ?? 0;
  const parts = points < length ? [`${points} of ${length} updates are drawn`] : [];
  return [...parts, 'bands: one deviation of rewards, 95 % intervals of held-out ones'].join('; ');
}
