/** «Train now», and the samples before and now, which change while it learns. */
import { el, number, replace } from '../../serve/page/dom.js';
import { goOn, onChange, stop, store, train } from './store.js';

const said = {
  none: '',
  fitting: 'learning from the votes …',
  loading: 'loading the model …',
  training: 'training',
  stopping: 'ending after the group at hand …',
  done: 'done',
  stopped: 'stopped',
  failed: 'failed',
};

const fileOf = (update) => `${String(update).padStart(6, '0')}.png`;
const nameOf = (update) => (update === 0 ? 'before' : `after ${update} ${update === 1 ? 'update' : 'updates'}`);

const rowOf = ([name, { before, after, low, high }]) =>
  el(
    'tr',
    {},
    el('th', { scope: 'row' }, name === 'reward' ? 'sum of rewards' : name),
    ...[number(before), number(after), `${number(low)} to ${number(high)}`].map((text) => el('td', {}, text)),
  );

export function mountTraining(panel) {
  const begin = (isAnyway) => {
    void train(isAnyway);
    panel.scrollIntoView({ block: 'start' }); // where the grid is going to change
  };
  const press = el('button', { type: 'button', className: 'main', on: { click: () => begin(false) } }, 'train now');
  const anyway = el('button', { type: 'button', on: { click: () => begin(true) } }, 'train anyway');
  const end = el('button', { type: 'button', on: { click: stop } }, 'stop');
  const request = el('p', { role: 'status', className: 'request' });
  const enough = el('button', { type: 'button', on: { click: goOn } }, 'go on without');
  const status = el('p', { role: 'status', id: 'lesson' });
  const refusal = el('p', { role: 'alert', className: 'refusal' });
  const hint = el('p', { className: 'soft' });
  const body = el('tbody', {});
  const heads = ['on held-out prompts', 'before', 'after', 'change (95 % interval)'];
  const results = el(
    'table',
    { className: 'results' },
    el('thead', {}, el('tr', {}, ...heads.map((text) => el('th', { scope: 'col' }, text)))),
    body,
  );
  const link = el('p', {});
  const progress = el('progress', { max: 1, value: 0, 'aria-label': 'updates' });
  const grids = el('div', { className: 'grids' });
  const tools = el('div', { className: 'tools' }, press, anyway, end, status);
  replace(
    panel,
    panel.querySelector('h2'),
    tools,
    el('div', { className: 'tools' }, request, enough),
    refusal,
    hint,
    progress,
    results,
    link,
    grids,
  );
  let drawn = '';
  let wasAsking = false;

  // The title is in the picture.
  const column = (run, update) => {
    const source = `/api/samples/${fileOf(update)}?run=${encodeURIComponent(run)}`;
    const image = el('img', { src: source, alt: `Samples ${nameOf(update)}, each under its prompt` });
    return el('figure', { data: { update: String(update) } }, image);
  };

  onChange(() => {
    const { state, refusal: refused } = store;
    if (!state) return;
    const { lesson, taste, trains, counted, folder, asking } = state;
    const { status: now, update, of, message, dashboard, rewards = {}, run } = lesson;
    const isOver = ['none', 'done', 'stopped', 'failed'].includes(now);
    press.hidden = !isOver;
    press.disabled = !trains || !taste?.agrees;
    anyway.hidden = !isOver || !trains || !taste || taste.agrees;
    end.hidden = isOver || now === 'fitting';
    end.disabled = now === 'stopping';
    const at = of > 0 ? `${said[now]}: update ${update} of ${of}` : said[now];
    const text = message ? `${at}: ${message}` : at;
    if (status.textContent !== text) status.textContent = text;
    status.dataset.status = now;
    const wanted = asking ? asking.of - asking.votes : 0;
    request.parentElement.hidden = !asking;
    if (asking && !wasAsking) document.getElementById('choice').scrollIntoView({ block: 'start' }); // it waits for somebody
    wasAsking = asking !== undefined;
    const words = asking
      ? `It waits for ${wanted} more ${wanted === 1 ? 'vote' : 'votes'} on what it draws now, ${nameOf(asking.update)}.`
      : '';
    if (request.textContent !== words) request.textContent = words;
    refusal.textContent = refused;
    hint.hidden = press.hidden || !press.disabled;
    hint.textContent = !trains
      ? `To train by these votes: winnow train CONFIG --taste ${folder}`
      : taste
        ? 'The votes do not agree with one another yet: rate more.'
        : `${counted} votes so far: rate more before there is something to train by.`;
    progress.hidden = isOver || of === 0;
    progress.max = Math.max(1, of);
    progress.value = update;
    const shown = JSON.stringify([lesson.grids, run, dashboard, rewards]);
    if (shown === drawn) return;
    drawn = shown;
    const rows = Object.entries(rewards).filter(([name]) => !(lesson.renewed && ['reward', 'taste'].includes(name)));
    results.hidden = rows.length === 0;
    replace(body, ...rows.map(rowOf));
    replace(
      link,
      dashboard
        ? el('a', { href: dashboard, target: '_blank', rel: 'noopener' }, 'the dashboard of this run')
        : undefined,
    );
    const [first, last] = [lesson.grids[0], lesson.grids.at(-1)];
    replace(
      grids,
      first === undefined ? undefined : column(run, first),
      first === last ? undefined : column(run, last),
    );
  });
}
