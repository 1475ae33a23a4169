/** What a group's rewards are: a histogram of all against kept; and the spreads and the previews' ranks over time. */

import { absent, el, isNumber, number, replace, svg } from '../../serve/page/dom.js';
import { Chart } from './chart.js';
import { linesOf, recordLines } from './curves.js';
import { onGroup } from './funnel.js';
import { firstRun, onChange, secondRun } from './store.js';

const bins = 14;

/** Counts of values over bins that span `all`. */
export function countsOf(values, all) {
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const span = high > low ? high - low : 1;
  const counts = Array(bins).fill(0);
  for (const value of values) counts[Math.min(bins - 1, Math.floor(((value - low) / span) * bins))]++;
  return counts;
}

const deviation = (values) => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
};

/** The rewards that a group's samples got first, and those of the samples that were trained on, on the same scale. */
function allAndKept({ selections = [], survivors = [], rewards = [] }) {
  const first = selections[0];
  if (!first?.rewards) return { all: rewards.filter(isNumber), kept: rewards.filter(isNumber) };
  const pairs = first.samples.map((sample, i) => [sample, first.rewards[i]]).filter(([, reward]) => isNumber(reward));
  return {
    all: pairs.map(([, reward]) => reward),
    kept: pairs.filter(([sample]) => survivors.includes(sample)).map(([, reward]) => reward),
    step: first.step,
  };
}

/** The histogram of the group that the funnel shows. */
function createHistogram() {
  const none = () => [absent('No group is drawn yet.')];
  const place = el('div', {}, ...none());
  onGroup(({ record }) => {
    const { all, kept, step } = allAndKept(record);
    replace(place, ...(all.length > 0 ? histogram(all, kept, step) : [absent('This group has no rewards.')]));
  });
  onChange((what) => {
    if (what === 'run' && !firstRun()?.summary.groups) replace(place, ...none());
  });
  return el('figure', { className: 'chart' }, el('figcaption', {}, 'Rewards of the group above'), place);
}

function histogram(all, kept, step) {
  const [ofAll, ofKept] = [countsOf(all, all), countsOf(kept, all)];
  const most = Math.max(...ofAll, 1);
  const [width, height] = [320, 170];
  const bars = (counts, className, inset) =>
    counts.map((count, i) => {
      const x = (width / bins) * i + inset;
      const tall = (count / most) * (height - 8);
      return svg('rect', { x, y: height - tall, width: width / bins - 2 * inset, height: tall, class: className });
    });
  const when = step === undefined ? 'at the end' : `of the previews at step ${step}`;
  const text = `Rewards ${when}: ${all.length} samples spread by ${number(deviation(all))}, the ${kept.length} that were kept by ${number(deviation(kept))}`;
  const picture = svg(
    'svg',
    { viewBox: `0 0 ${width} ${height + 2}`, class: 'histogram', role: 'img', 'aria-label': text },
    ...bars(ofAll, 'all', 1),
    ...bars(ofKept, 'kept', 4),
    svg('line', { x1: 0, x2: width, y1: height, y2: height, class: 'axis' }),
  );
  const ends = el(
    'div',
    { className: 'ends soft' },
    el('span', {}, number(Math.min(...all))),
    el('span', {}, `reward ${when}`),
    el('span', {}, number(Math.max(...all))),
  );
  const key = (className, label, values) =>
    el(
      'li',
      {},
      el('span', { className: `swatch ${className}`, 'aria-hidden': 'true' }),
      `${label}: ${values.length}, spread `,
      el('output', {}, number(deviation(values))),
    );
  return [el('ul', { className: 'legend' }, key('all', 'all', all), key('kept', 'kept', kept)), picture, ends];
}

export function mountRewards(panel) {
  const bars = createHistogram();
  const spread = new Chart('Spread of rewards in a group');
  const rank = new Chart('Rank agreement of previews with final rewards', { range: () => [-0.1, 1.05] });
  const kept = new Chart('Variance kept, of the best subset’s', { range: () => [0, 1.1] });
  const note = absent('');
  replace(
    panel,
    panel.querySelector('h2'),
    el('div', { className: 'charts' }, bars, spread.element, rank.element, kept.element),
    note,
  );
  const draw = () => {
    const options = { smoothing: 0, x: 'x/update' };
    spread.draw(
      linesOf(
        () => [
          ['all', 'spread/all'],
          ['kept', 'spread/kept'],
        ],
        options,
      ),
    );
    rank.draw(recordLines('probes', ranksOf, 'x/update'));
    kept.draw(recordLines('probes', ({ variance_kept: mean }) => ({ kept: { mean } }), 'x/update'));
    const isProbed = [firstRun(), secondRun()].some((run) => run?.probes.length > 0);
    note.textContent = isProbed
      ? 'Near 1, a preview tells how its picture ends; well below, prune_at is too early.'
      : 'Rank agreement (Spearman) is not recorded: eval.probe_every draws a group to its end now and then to measure it.';
  };
  onChange((what) => {
    if (what === 'curves' || what === 'run') draw();
  });
}

const ranksOf = ({ steps = [], spearman = [] }) =>
  Object.fromEntries(steps.map((step, i) => [`step ${step}`, { mean: spearman[i] }]));
