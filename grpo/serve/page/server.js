/** What a page asks of its server, and the stream that it hears what is new by. */

const addressOf = (parts) => `/api/${parts.map(encodeURIComponent).join('/')}`;

/** JSON of this server. Addresses are made of encoded parts. */
export async function get(...parts) {
  const response = await fetch(addressOf(parts));
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return response.json();
}

/** Presses a button, with the session's token; the answer, or undefined where there is no connection. */
export const post = ({ header, token }, parts, body) =>
  fetch(addressOf(parts), {
    method: 'POST',
    headers: { [header]: token, ...(body && { 'Content-Type': 'application/json' }) },
    body: body && JSON.stringify(body),
  }).catch(() => undefined);

/**
 * Follows a stream of events until `close()`; a connection that is lost is made again. `connected` is told whether there is one,
 * `on` has what is done by the names of events, `hello` among them, with which each connection begins.
 */
export function openEvents(address, { connected, on }) {
  let stream;
  let isClosed = false;
  const open = () => {
    const own = new EventSource(address);
    stream = own;
    own.addEventListener('hello', () => connected(true));
    for (const [event, take] of Object.entries(on))
      own.addEventListener(event, ({ data }) => isClosed || take(JSON.parse(data)));
    own.addEventListener('error', () => {
      if (isClosed) return;
      connected(false);
      // A browser gives up for good where the answer is an error, as of a server that starts or stops.
      if (own.readyState === EventSource.CLOSED) setTimeout(() => isClosed || open(), 1500);
    });
  };
  open();
  return () => {
    isClosed = true;
    stream.close();
  };
}
