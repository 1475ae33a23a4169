/**
 * What is known of the rating, and votes on their way. A vote shows its effect at once: it waits in the outbox until the server
 * has it, in order, and is sent again after a lost connection; the server counts it once by its id.
 */
import { get, openEvents, post } from '../../serve/page/server.js';

/** The server's last state, votes that it may not know of yet, and whether it can be reached. */
export const store = { state: undefined, outbox: [], connected: false, refusal: '' };

const listeners = new Set();
let session;
let isSending = false;

/** Calls a listener whenever something has changed. */
export const onChange = (listener) => void listeners.add(listener);

const tell = () => {
  for (const listener of listeners) listener();
};

/** Begins; resolves when there is a state to show. */
export async function start() {
  session = await get('session');
  take(await get('state'));
  openEvents('/api/events', {
    connected: (value) => {
      store.connected = value;
      if (value) void renew();
      tell();
    },
    on: { state: take },
  });
}

/** A server that was started again has another token. */
async function renew() {
  try {
    session = await get('session');
    void send();
  } catch {
    // gone again: the stream says so
  }
}

function take(state) {
  const known = store.state;
  if (known && known.server === state.server && known.version > state.version) return; // an older one that came late
  store.state = state;
  tell();
}

const pending = () => new Set(store.outbox.flatMap(({ body }) => [body.pair, body.vote]));

/** The pair to choose from; undefined while it is not known, or none is drawn. */
export function currentPair() {
  if (store.outbox.some(({ what }) => what === 'undo')) return undefined; // the server says what is shown again
  return upcoming()[0];
}

/** The pairs that are not voted on yet, the one to choose from first. */
export function upcoming() {
  const sent = pending();
  return (store.state?.pairs ?? []).filter(({ id }) => !sent.has(id));
}

/** Votes that teach something, those on their way among them. */
export function countedNow() {
  const { counted = 0, recent = [] } = store.state ?? {};
  const isNew = ({ what, body }) => what === 'vote' && body.choice !== 'skip' && !recent.includes(body.pair);
  return counted + store.outbox.filter(isNew).length;
}

/** Whether there is a vote to take back. */
export const canUndo = () => lastVote() !== undefined && !store.outbox.some(({ what }) => what === 'undo');

function lastVote() {
  const sent = store.outbox.filter(({ what }) => what === 'vote').map(({ body }) => body.pair);
  return sent.at(-1) ?? store.state?.recent.at(-1);
}

/** Votes on the pair that is shown, `seconds` after it was. */
export function vote(pair, choice, seconds) {
  const pictures = pair.pictures.map(({ sha256 }) => sha256);
  store.outbox.push({ what: 'vote', body: { pair: pair.id, pictures, choice, seconds } });
  void send();
  tell();
}

/** Takes the last vote back. */
export function undo() {
  if (!canUndo()) return;
  store.outbox.push({ what: 'undo', body: { vote: lastVote() } });
  void send();
  tell();
}

/** Starts a training by the votes; `anyway` also where they do not agree with one another. */
export const train = (anyway) => act('train', { anyway });

/** Has a training that waits for votes go on without more of them. */
export const goOn = () => act('go-on', {});

/** Ends the training in good order. */
export const stop = () => act('stop', {});

async function act(what, body) {
  const response = await post(session, [what], body);
  store.refusal = response?.ok ? '' : response ? await response.text() : 'There is no connection.';
  if (response?.ok) take(await response.json());
  tell();
}

/** Sends what is in the outbox, one after another. */
async function send() {
  if (isSending) return;
  isSending = true;
  try {
    while (store.outbox.length > 0) {
      const { what, body } = store.outbox[0];
      const response = await post(session, [what], body);
      if (!response || response.status === 403) return; // sent again by renew(), when there is a server
      const state = await (response.ok ? response.json() : get('state'));
      store.outbox.shift(); // with the state that has it, so that nothing is shown twice
      take(state);
      tell();
    }
  } catch {
    // lost on the way: what is in the outbox is sent again
  } finally {
    isSending = false;
  }
}
