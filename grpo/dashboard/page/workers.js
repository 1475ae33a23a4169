/** The machines that draw and differentiate for the run: what each does, how much it has drawn, when it was seen. */
import { duration, el, replace } from '../../serve/page/dom.js';
import { firstRun, onChange } from './store.js';

/** Those who are there come first, then those who can't be, then those who no longer are. */
const order = [['loading', 'idle', 'working'], ['aside'], ['refused'], ['silent'], ['left']];
const rank = ({ state }) => order.findIndex((states) => states.includes(state));

export function mountWorkers(panel) {
  const counts = el('p', { role: 'status' });
  const server = el('p', { className: 'soft server' });
  // Said to be a table, which it would not be to all readers where a narrow page has its rows as cards.
  const head = ['worker', 'state', 'groups', 'seen'].map((text) => el('th', { role: 'columnheader' }, text));
  const body = el('tbody', { role: 'rowgroup' });
  const heading = el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, ...head));
  const table = el('table', { role: 'table' }, heading, body);
  replace(
    panel,
    panel.querySelector('h2'),
    counts,
    server,
    el('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'workers' }, table),
  );
  const rows = [];
  const draw = () => {
    const run = firstRun();
    panel.hidden = !run?.workers;
    if (panel.hidden) return;
    const workers = run.workers.workers.toSorted((a, b) => rank(a) - rank(b));
    setText(counts, countsOf(workers, run.summary.info?.status === 'running'));
    setText(server, `queue at ${run.workers.server}`);
    const passed = (performance.now() - run.heard) / 1000;
    // Rows stay and only their texts change, so that who reads one, or has scrolled, is not thrown out.
    while (rows.length > workers.length) rows.pop().element.remove();
    while (rows.length < workers.length) {
      const row = makeRow();
      rows.push(row);
      body.append(row.element);
    }
    for (const [i, worker] of workers.entries()) fill(rows[i], worker, passed);
    table.parentElement.hidden = workers.length === 0;
  };
  onChange((what) => {
    if (what !== 'curves' && what !== 'connection') draw();
  });
  setInterval(draw, 1000);
}

function makeRow() {
  const part = (className) => el('span', { className });
  const [name, adapter, state, reason] = ['name', 'adapter', 'state', 'reason'].map(part);
  const cell = (...parts) => el('td', { role: 'cell' }, ...parts);
  const [groups, seen] = [cell(), cell()];
  const first = el('th', { role: 'rowheader' }, name, adapter);
  const element = el('tr', { role: 'row' }, first, cell(state, reason), groups, seen);
  return { element, name, adapter, state, reason, groups, seen };
}

function fill(row, { name, adapter, state, reason = '', groups, ago }, passed) {
  setText(row.name, name);
  setText(row.adapter, adapter);
  setText(row.state, state);
  row.state.dataset.state = state;
  setText(row.reason, reason);
  setText(row.groups, String(groups));
  setText(row.seen, `${duration(ago + passed)} ago`);
}

/** Sets a text unless it stands there already: what is set is read aloud where it is a status. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** `2 at work, 1 set aside, 3 left`; of a run that is over `4 worked`. */
function countsOf(workers, isRunning) {
  const count = (of) => workers.filter(of).length;
  const among = (rankOf, text) => [count((worker) => rank(worker) === rankOf), text];
  const [first, ...others] = isRunning
    ? [among(0, 'at work'), among(1, 'set aside'), among(2, 'refused'), among(3, 'silent'), among(4, 'left')]
    : [[count(({ groups }) => groups > 0), 'worked'], among(2, 'refused')];
  const all = [first, ...others.filter(([n]) => n > 0)];
  return all.map(([n, text]) => `${n || 'nobody'} ${text}`).join(', ');
}
