/** The page: which run is shown, and the panels that show it. */

import { duration, el, replace } from '../../serve/page/dom.js';
import { get } from '../../serve/page/server.js';
import { fetchRuns, mountAbout } from './about.js';
import { mountCurves } from './curves.js';
import { mountFunnel } from './funnel.js';
import { mountRewards } from './rewards.js';
import { mountSamples } from './samples.js';
import { firstRun, onChange, show, state } from './store.js';
import { mountWorkers } from './workers.js';

const byId = (id) => document.getElementById(id);
const [first, second] = [byId('run'), byId('second')];

let runs = [];

const labelOf = ({ id, status, updates, of }) => (status ? `${id} (${status}, ${updates}/${of})` : id);

/** Fills the two lists; what is chosen stays. */
function fillLists() {
  const options = runs.map((run) => el('option', { value: run.id }, labelOf(run)));
  const chosen = [state.first, state.second];
  replace(first, ...options);
  replace(second, el('option', { value: '' }, 'none'), ...options.map((option) => option.cloneNode(true)));
  [first.value, second.value] = chosen;
  second.parentElement.hidden = runs.length < 2;
}

async function refreshRuns() {
  runs = await fetchRuns().catch(() => runs);
  if (document.activeElement !== first && document.activeElement !== second) fillLists();
  if (state.first === '' && runs.length > 0) {
    first.value = runs[0].id; // the first run that begins while the page waits for one
    await choose();
  }
}

async function choose() {
  const query = new URLSearchParams([['run', first.value]]);
  if (second.value) query.append('run', second.value);
  history.replaceState(null, '', `?${query}`);
  await show(first.value, second.value);
}

function showStatus() {
  const { summary } = firstRun() ?? {};
  const info = summary?.info;
  document.title = info ? `${info.updates}/${info.of} ${state.first}` : 'winnow';
  byId('status').textContent = !summary
    ? 'no run'
    : summary.gone
      ? 'the folder of this run is gone: this is what was last read'
      : info
        ? `${info.status}: update ${info.updates} of ${info.of}, ${duration(info.seconds)}`
        : 'run.json can not be read';
  byId('status').dataset.status = summary?.gone ? 'gone' : (info?.status ?? '');
}

function showConnection() {
  byId('connection').textContent = state.connected ? '' : 'no connection; trying again';
}

async function start() {
  const session = await get('session');
  mountFunnel(byId('funnel'));
  mountRewards(byId('rewards'));
  mountCurves(byId('curves'));
  mountSamples(byId('samples'));
  mountWorkers(byId('workers'));
  mountAbout(byId('about'), session, (id) => runs.find((run) => run.id === id)?.live);
  onChange((what) => {
    if (what === 'connection') showConnection();
    else showStatus();
  });
  runs = await fetchRuns();
  const asked = new URLSearchParams(location.search).getAll('run').filter((id) => runs.some((run) => run.id === id));
  state.first = asked[0] ?? runs.find(({ live }) => live)?.id ?? runs[0]?.id ?? '';
  state.second = asked[1] ?? '';
  fillLists();
  for (const list of [first, second]) list.addEventListener('change', choose);
  await show(state.first, state.second);
  setInterval(refreshRuns, 5000);
  document.body.dataset.ready = 'true';
}

start().catch((error) => {
  byId('status').textContent = `The page could not start: ${error.message}`;
});
