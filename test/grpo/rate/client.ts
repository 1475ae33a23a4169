/** What a page sends and asks, without a page: for tests, and for a voter that is a program. */
import type { RatingServer, RatingState } from '../../../grpo/rate/index.js';
import { ask } from '../http.js';

type At = Pick<RatingServer, 'port'>;

export const stateOf = async (server: At): Promise<RatingState> => JSON.parse((await ask(server, '/api/state')).text);

/** Presses a button as the page does. */
export async function post(server: At, what: string, body: object, headers: Record<string, string> = {}) {
  const { token, header } = JSON.parse((await ask(server, '/api/session')).text);
  return ask(server, `/api/${what}`, { method: 'POST', body: JSON.stringify(body), [header]: token, ...headers });
}

/** The vote on a pair. */
export const voteOn = ({ id, pictures }: RatingState['pairs'][number], choice = 'left', seconds = 1.5) => ({
  pair: id,
  pictures: pictures.map(({ sha256 }) => sha256),
  choice,
  seconds,
});

/** The bytes of a picture or of a grid of samples. */
export async function pictureAt({ port }: At, path: string): Promise<Uint8Array> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}
