/** What the votes have taught: how well they foretell one another, and in words what is liked. */
import { absent, el, replace, svg } from '../../serve/page/dom.js';
import { onChange, store } from './store.js';

const percent = (share) => `${Math.round(100 * share)}\u00a0%`;
const shareOf = ({ agree, of }) => (of > 0 ? agree / of : 0.5); // of votes for «equal» alone there is none

export function mountTaste(panel) {
  const place = el('div', { className: 'taste', 'aria-live': 'polite' });
  replace(panel, panel.querySelector('h2'), place);
  let drawn = '';
  onChange(() => {
    const { state } = store;
    const text = JSON.stringify([state?.taste, state?.fitting, state?.counted]);
    if (!state || text === drawn) return;
    drawn = text;
    const { taste, fitting } = state;
    replace(
      place,
      ...(taste ? learned(taste) : [absent('After some votes this says what they have taught.')]),
      el('p', { className: 'soft', hidden: !fitting }, 'learning from the votes …'),
    );
  });
}

function learned({ agreement, agrees, sentence, words }) {
  const { of, low, high, history } = agreement;
  return [
    el(
      'p',
      { className: 'agreement', data: { agrees: String(agrees) } },
      el('strong', {}, percent(shareOf(agreement))),
    ),
    el(
      'p',
      { className: 'soft' },
      `of ${of} held-out pairs foretold as you chose, ${percent(low)} to ${percent(high)} with 95 % confidence; chance is 50 %`,
    ),
    el('p', { className: 'sentence' }, sentence),
    words.length > 0 ? el('p', { className: 'words' }, 'You like: ', el('strong', {}, words.join(', '))) : undefined,
    history.length > 1 ? growth(history) : undefined,
  ];
}

const [width, height] = [300, 110];

/** The share and its interval by the number of votes. */
function growth(history) {
  const last = history.at(-1).votes;
  const first = history[0].votes;
  const x = (votes) => 38 + ((width - 48) * (votes - first)) / Math.max(1, last - first);
  const y = (share) => 8 + (height - 26) * (1 - Math.min(1, Math.max(0, (share - 0.25) / 0.75)));
  const points = (share) => history.map((each) => `${x(each.votes)},${y(share(each))}`);
  const band = [...points(({ high }) => high), ...points(({ low }) => low).reverse()].join(' ');
  const line = points(shareOf).join(' ');
  const text = (at, words, anchor) => svg('text', { x: at[0], y: at[1], 'text-anchor': anchor }, words);
  const said = history.map((each) => `${percent(shareOf(each))} after ${each.votes} votes`).join(', ');
  return svg(
    'svg',
    { class: 'growth', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `Agreement as it grew: ${said}` },
    svg('polygon', { class: 'band', points: band }),
    svg('line', { class: 'chance', x1: 38, x2: width - 10, y1: y(0.5), y2: y(0.5) }),
    svg('polyline', { class: 'line', points: line }),
    text([34, y(1) + 4], '100 %', 'end'),
    text([34, y(0.5) + 4], '50 %', 'end'),
    text([38, height - 3], `${first} votes`, 'start'),
    text([width - 10, height - 3], String(last), 'end'),
  );
}
