/** What is known of the runs that are shown, and the stream that keeps it fresh. */
import { get, openEvents } from '../../serve/page/server.js';

/** The run, and the one beside it, by their ids; `runs` has the data of both. */
export const state = { runs: new Map(), first: '', second: '', connected: false };

const listeners = new Set();

/** Calls a listener with what has changed: `summary`, `curves`, `workers`, `connection` or `run`. */
export function onChange(listener) {
  listeners.add(listener);
}

const tell = (what) => {
  for (const listener of listeners) listener(what);
};

export const firstRun = () => state.runs.get(state.first);
export const secondRun = () => state.runs.get(state.second);

/** The address of a picture of a run. */
export const pictureOf = (run, folder, name) => `/api/runs/${[run, folder, name].map(encodeURIComponent).join('/')}`;

const mostPoints = 4000; // beyond it the server's thinned curves are fetched again

let closeStream = () => {};

/** Shows a run, and another beside it or none. */
export async function show(first, second) {
  state.first = first;
  state.second = second === first ? '' : second;
  for (const id of state.runs.keys()) if (id !== state.first && id !== state.second) state.runs.delete(id);
  await new Promise(listen);
  tell('run');
}

const ids = () => [state.first, state.second].filter(Boolean);

/** Fetches all of a run. What the stream tells meanwhile is contained in it, or follows it. */
async function load(id) {
  try {
    const { summary, metrics, evaluations, probes, workers } = await get('runs', id);
    if (!ids().includes(id)) return;
    const { columns, length } = metrics;
    state.runs.set(id, { id, summary, columns, length, evaluations, probes, ...heard(workers) });
  } catch (error) {
    console.warn(`winnow: ${id}: ${error.message}`);
  }
}

/** Who works, and when that was heard: how long ago each was seen grows from then on. */
const heard = (workers) => ({ workers, heard: performance.now() });

async function reload(...all) {
  await Promise.all(all.map(load));
  tell('summary');
  tell('curves');
  tell('workers');
}

/**
 * Follows the runs. Upon each connection, whose greeting comes first, all of them is fetched, whatever was missed: what the
 * stream tells from then on follows it. `loaded` is called after the first time.
 */
function listen(loaded) {
  closeStream();
  const query = new URLSearchParams(ids().map((id) => ['run', id]));
  const ofRun = (take) => (data) => {
    const { run: id, ...rest } = data;
    const run = state.runs.get(id);
    if (run) take(run, rest);
  };
  closeStream = openEvents(`/api/events?${query}`, {
    connected: (value) => {
      if (state.connected === value) return;
      state.connected = value;
      tell('connection');
    },
    on: {
      hello: async () => {
        await reload(...ids());
        loaded();
      },
      afresh: ofRun(({ id }) => void reload(id)),
      metrics: ofRun((run, { from, columns }) => appendRows(run, from, columns)),
      summary: ofRun((run, { summary }) => {
        run.summary = summary;
        tell('summary');
      }),
      workers: ofRun((run, { workers }) => {
        Object.assign(run, heard(workers));
        tell('workers');
      }),
      evaluations: ofRun((run, { evaluations }) => {
        run.evaluations = evaluations;
        tell('curves');
      }),
      probes: ofRun((run, { probes }) => {
        run.probes = probes;
        tell('curves');
      }),
    },
  });
}

function appendRows(run, from, columns) {
  const updates = columns['x/update'] ?? [];
  const skip = run.length - from; // rows that are there already
  if (skip >= updates.length) return;
  const points = run.columns['x/update']?.length ?? 0;
  if (skip < 0 || points > mostPoints) {
    void reload(run.id);
    return;
  }
  for (const [name, values] of Object.entries(columns)) {
    const own = run.columns[name] ?? Array(points).fill(null);
    run.columns[name] = [...own, ...values.slice(skip)];
  }
  const length = points + updates.length - skip;
  for (const values of Object.values(run.columns)) while (values.length < length) values.push(null);
  run.length = from + updates.length;
  tell('curves');
}
