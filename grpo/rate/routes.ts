/** What is answered at which address of the page. */
import { choices } from '../finetune/taste/votes.js';
import { type Guard, tokenHeader } from '../serve/guard.js';
import { readJson } from '../serve/requests.js';
import { sendBytes, sendJson, sendPicture, sendText } from '../serve/responses.js';
import type { Visit } from '../serve/site.js';
import { type EventStream, eventText, openStream } from '../serve/stream.js';
import type { Rating } from './rating.js';
import type { GivenVote, RatingState } from './state.js';

/** The pages that listen, all of which are told of every change. */
export class Listeners {
  private readonly streams = new Set<EventStream>();

  add(visit: Visit, state: RatingState): void {
    const stream = openStream(visit, () => this.streams.delete(stream));
    this.streams.add(stream);
    stream.send(eventText('state', state));
  }

  tell(state: RatingState): void {
    const text = eventText('state', state);
    for (const stream of this.streams) stream.send(text);
  }

  close(): void {
    for (const stream of this.streams) stream.end();
  }
}

export interface Room {
  readonly guard: Guard;
  readonly rating: Rating;
  readonly listeners: Listeners;
}

/** Answers what is asked below /api. */
export async function answerData({ guard, rating, listeners }: Room, visit: Visit): Promise<void> {
  const [, what, name, ...more] = visit.parts;
  if (more.length > 0) return sendText(visit, 404, 'not found');
  if (what === 'session' && name === undefined) return sendJson(visit, { token: guard.token, header: tokenHeader });
  if (what === 'state' && name === undefined) return sendJson(visit, rating.state);
  if (what === 'events' && name === undefined) return listeners.add(visit, rating.state);
  const { run } = rating;
  if (what === 'samples' && name !== undefined && /^\d{1,12}\.png$/.test(name) && run !== undefined)
    return sendPicture(visit, run, ['samples', name]);
  const [, hash] = /^([0-9a-f]{64})\.png$/.exec(name ?? '') ?? [];
  const png = what === 'pictures' && hash !== undefined ? rating.picture(hash) : undefined;
  return png ? sendBytes(visit, 'image/png', png) : sendText(visit, 404, 'not found');
}

/** Answers POST /api/vote, undo, train, go-on and stop, by JSON; each with the state that follows. */
export async function answerPost({ guard, rating }: Room, visit: Visit): Promise<void> {
  const [api, what, ...more] = visit.parts;
  const act = api === 'api' && more.length === 0 ? acts.get(what ?? '') : undefined;
  if (!act) return sendText(visit, 404, 'not found');
  if (!guard.mayAct(visit.request)) return sendText(visit, 403, 'wrong token');
  const body = await readJson(visit);
  if (!body) return sendText(visit, 400, 'expected a JSON object of at most 4096 bytes');
  const refused = await act(rating, body);
  if (refused === undefined) return sendJson(visit, rating.state);
  return sendText(visit, refused.status, refused.text);
}

interface Refusal {
  readonly status: number;
  readonly text: string;
}

type Act = (rating: Rating, body: Readonly<Record<string, unknown>>) => Promise<Refusal | undefined>;

const acts: ReadonlyMap<string, Act> = new Map<string, Act>([
  [
    'vote',
    async (rating, body) => {
      const vote = voteOf(body);
      if (!vote) return { status: 400, text: `expected pair, pictures, choice (${choices.join(', ')}) and seconds` };
      return (await rating.vote(vote)) ? undefined : { status: 409, text: 'this pair is not shown any more' };
    },
  ],
  [
    'undo',
    async (rating, { vote }) => {
      if (typeof vote !== 'string') return { status: 400, text: 'expected vote, the id of the last one' };
      return (await rating.undo(vote)) ? undefined : { status: 409, text: 'this is not the last vote' };
    },
  ],
  [
    'train',
    async (rating, { anyway }) => {
      const refused = await rating.train({ anyway: anyway === true });
      return refused === undefined ? undefined : { status: 409, text: refused };
    },
  ],
  [
    'go-on',
    async (rating) => {
      rating.goOn();
      return undefined;
    },
  ],
  [
    'stop',
    async (rating) => {
      rating.stop();
      return undefined;
    },
  ],
]);

function voteOf(body: Readonly<Record<string, unknown>>): GivenVote | undefined {
  const { pair, pictures, choice, seconds } = body;
  const known = choices.find((each) => each === choice);
  const isHashes = Array.isArray(pictures) && pictures.every((each) => typeof each === 'string');
  const isTime = typeof seconds === 'number' && Number.isFinite(seconds) && seconds >= 0;
  if (typeof pair !== 'string' || !/^[0-9a-f]{1,64}$/.test(pair) || !isHashes || !known || !isTime) return undefined;
  return { pair, pictures, choice: known, seconds: Math.round(seconds * 1000) / 1000 };
}
