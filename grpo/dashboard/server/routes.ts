/** What is answered at which address. */
import type { RunFeed } from '../feed/run_feed.js';
import type { Sources } from '../feed/sources.js';
import type { EventStreams, Followed } from './events.js';
import { type Guard, tokenHeader } from './guard.js';
import { type Exchange, sendJson, sendPageFile, sendPicture, sendText } from './responses.js';

/** What a button does. */
export type Action = 'save' | 'sample' | 'stop';

export const actions: readonly Action[] = ['save', 'sample', 'stop'];

/** A run that this process trains, and what its buttons do. */
export interface LiveRun {
  /** Its folder. */
  readonly folder: string;
  act(action: Action): void;
}

export interface Site {
  readonly guard: Guard;
  readonly sources: Sources;
  readonly streams: EventStreams;
  readonly files: ReadonlyMap<string, string>;
  /** The run with buttons; undefined where there is none, or they are hidden. */
  readonly live: LiveRun | undefined;
}

/** Points of a curve that are sent: more than a screen has columns. */
const mostPoints = 2000;

/** Answers a request. */
export async function answer(site: Site, exchange: Exchange): Promise<void> {
  const { request } = exchange;
  const { guard } = site;
  if (!guard.isOwnHost(request)) return sendText(exchange, 421, 'this server does not go by that name');
  const url = new URL(request.url?.replace(/^\/+/, '/') ?? '/', 'http://winnow');
  if (!guard.mayRead(request, url))
    return sendText(exchange, 401, 'open this page by the address that was printed, with ?token=');
  const parts = partsOf(url.pathname);
  if (!parts) return sendText(exchange, 400, 'not an address');
  if (request.method === 'POST') return act(site, exchange, parts);
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return sendText(exchange, 405, 'expected GET or POST', { Allow: 'GET, HEAD, POST' });
  if (parts[0] === 'api') return answerData(site, exchange, url, parts.slice(1));
  const cookie = guard.cookie();
  if (cookie !== undefined && url.searchParams.has('token')) return dropToken(exchange, url, cookie);
  const file = site.files.get(url.pathname);
  return file === undefined ? sendText(exchange, 404, 'not found') : sendPageFile(exchange, file, {});
}

/** The decoded parts of a path; undefined where they are no text. */
function partsOf(path: string): string[] | undefined {
  try {
    return path.split('/').slice(1).map(decodeURIComponent);
  } catch {
    return undefined;
  }
}

/** The token moves from the address, which is shown and kept in histories, to a cookie. */
function dropToken(exchange: Exchange, url: URL, cookie: string): void {
  url.searchParams.delete('token');
  sendText(exchange, 303, 'go on', { 'Set-Cookie': cookie, Location: `${url.pathname}${url.search}` });
}

async function answerData(site: Site, exchange: Exchange, url: URL, parts: readonly string[]): Promise<void> {
  const { sources, guard, live } = site;
  const [what, id, of, name, ...more] = parts;
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
    return site.streams.add(exchange, followed);
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
    const { summary, metrics, evaluations, probes } = feed;
    const curves = { length: metrics.length, columns: metrics.thinned(mostPoints) };
    return sendJson(exchange, { summary, metrics: curves, evaluations, probes });
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
async function act({ guard, live, sources }: Site, exchange: Exchange, parts: readonly string[]): Promise<void> {
  const [api, runs, id, name, ...more] = parts;
  const action = actions.find((each) => each === name);
  if (!live || api !== 'api' || runs !== 'runs' || id === undefined || !action || more.length > 0)
    return sendText(exchange, 404, 'not found');
  if (!guard.mayAct(exchange.request)) return sendText(exchange, 403, 'wrong token');
  const feed = await sources.feed(id);
  if (feed?.folder !== live.folder) return sendText(exchange, 409, 'this run is not trained by this process');
  live.act(action);
  return sendText(exchange, 202, action);
}
