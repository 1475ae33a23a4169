/** What is answered at which address. */

import { type Guard, tokenHeader } from '../../serve/guard.js';
import { type Exchange, sendJson, sendPicture, sendText } from '../../serve/responses.js';
import type { Visit } from '../../serve/site.js';
import type { RunFeed } from '../feed/run_feed.js';
import type { Sources } from '../feed/sources.js';
import { withAges } from '../feed/workers.js';
import type { EventStreams, Followed } from './events.js';

/** What a button does. */
export type Action = 'save' | 'sample' | 'stop';

export const actions: readonly Action[] = ['save', 'sample', 'stop'];

/** A run that this process trains, and what its buttons do. */
export interface LiveRun {
  /** Its folder. */
  readonly folder: string;
  act(action: Action): void;
}

/** What the server shows. */
export interface Room {
  readonly guard: Guard;
  readonly sources: Sources;
  readonly streams: EventStreams;
  /** The run with buttons; undefined where there is none, or they are hidden. */
  readonly live: LiveRun | undefined;
}

/** Points of a curve that are sent: more than a screen has columns. */
const mostPoints = 2000;

/** Answers what is asked below /api. */
export async function answerData(room: Room, exchange: Visit): Promise<void> {
  const { sources, guard, live, streams } = room;
  const { url, parts } = exchange;
  const [, what, id, of, name, ...more] = parts;
  if (what === 'session' && id === undefined)
    return sendJson(exchange, live ? { token: guard.token, header: tokenHeader, actions } : { actions: [] });
  if (what === 'runs' && id === undefined) {
    const runs = await sources.describe();
    return sendJson(
      exchange,
      runs.map((run) => ({ id: run.id, live: run.folder === live?.folder, ...shortInfo(run.info) })),
    );
  }
  if (what === 'events' && id === undefined) {
    const followed: Followed[] = [];
    for (const each of new Set(url.searchParams.getAll('run'))) {
      const feed = await sources.feed(each);
      if (feed) followed.push({ id: each, feed });
    }
    return streams.add(exchange, followed);
  }
  const feed = what === 'runs' && id !== undefined ? await sources.feed(id) : undefined;
  if (!feed || more.length > 0) return sendText(exchange, 404, 'not found');
  return answerRun(feed, exchange, of, name);
}

async function answerRun(
  feed: RunFeed,
  exchange: Exchange,
  of: string | undefined,
  name: string | undefined,
): Promise<void> {
  if (of === undefined) {
    await feed.refresh();
    const { summary, metrics, evaluations, probes, workers } = feed;
    const curves = { length: metrics.length, columns: metrics.thinned(mostPoints) };
    return sendJson(exchange, { summary, metrics: curves, evaluations, probes, workers: withAges(workers) });
  }
  if (of === 'groups' && name !== undefined && /^\d{1,9}$/.test(name)) {
    const group = await feed.group(Number(name));
    return group ? sendJson(exchange, group) : sendText(exchange, 404, 'not found');
  }
  const pattern = pictures[of];
  if (name !== undefined && pattern?.test(name)) return sendPicture(exchange, feed.folder, [of, name]);
  return sendText(exchange, 404, 'not found');
}

/** The pictures of a run by their folder. */
const pictures: Readonly<Record<string, RegExp | undefined>> = Object.assign(Object.create(null), {
  samples: /^(\d{1,12}|before_after)\.png$/,
  previews: /^\d{1,12}_\d{1,9}_(\d{1,9}|final)\.png$/,
});

const shortInfo = (info: RunFeed['summary']['info']) =>
  info && { status: info.status, updates: info.updates, of: info.of, started: info.started, rewards: info.rewards };

/** POST /api/runs/ID/save, sample and stop. */
export async function answerPost({ guard, live, sources }: Room, exchange: Visit): Promise<void> {
  const [api, runs, id, name, ...more] = exchange.parts;
  const action = actions.find((each) => each === name);
  if (!live || api !== 'api' || runs !== 'runs' || id === undefined || !action || more.length > 0)
    return sendText(exchange, 404, 'not found');
  if (!guard.mayAct(exchange.request)) return sendText(exchange, 403, 'wrong token');
  const feed = await sources.feed(id);
  if (feed?.folder !== live.folder) return sendText(exchange, 409, 'this run is not trained by this process');
  live.act(action);
  return sendText(exchange, 202, action);
}
