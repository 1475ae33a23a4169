/** A server of this machine: who may come in, which files it has, and what is asked of it below /api. */

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf } from '../../engine/errors.js';
import { checkReach, createGuard, type Guard, type GuardOptions, isLoopback } from './guard.js';
import { type Exchange, sendPageFile, sendText } from './responses.js';

/** A request that was let in. */
export interface Visit extends Exchange {
  readonly url: URL;
  /** The decoded parts of its path. */
  readonly parts: readonly string[];
}

export interface Site {
  /** Files by their addresses: what is not in this table is not there. */
  readonly files: ReadonlyMap<string, string>;
  /** Answers GET and HEAD below /api. */
  get(visit: Visit): Promise<void>;
  /** Answers a POST, token or not: see Guard.mayAct(). */
  post(visit: Visit): Promise<void>;
}

export interface SiteOptions extends GuardOptions {
  /** Another that is free is taken where it is taken. 0: any. */
  readonly port: number;
}

export interface Served {
  /** Where it is: scheme, host and port. */
  readonly origin: string;
  readonly port: number;
  /** Ends every connection. */
  close(): Promise<void>;
}

/** Serves what `site` makes, once it is known by which guard. Throws a UsageError for a host beyond loopback without a token. */
export async function serveSite(options: SiteOptions, site: (guard: Guard) => Site): Promise<Served> {
  const { host = '127.0.0.1' } = options;
  checkReach(options);
  const server = createServer();
  const port = await listen(server, options.port, host);
  const guard = createGuard(options, port);
  const served = site(guard);
  server.on('request', (request, response) => {
    const exchange = { request, response };
    answer(served, guard, exchange).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else sendText(exchange, 500, messageOf(error));
    });
  });
  const shown = isLoopback(host) ? host : host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return {
    origin: `http://${shown.includes(':') ? `[${shown}]` : shown}:${port}`,
    port,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

async function answer(site: Site, guard: Guard, exchange: Exchange): Promise<void> {
  const { request } = exchange;
  if (!guard.isOwnHost(request)) return sendText(exchange, 421, 'this server does not go by that name');
  const url = new URL(request.url?.replace(/^\/+/, '/') ?? '/', 'http://winnow');
  if (!guard.mayRead(request, url))
    return sendText(exchange, 401, 'open this page by the address that was printed, with ?token=');
  const parts = partsOf(url.pathname);
  if (!parts) return sendText(exchange, 400, 'not an address');
  if (request.method === 'POST') return site.post({ ...exchange, url, parts });
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return sendText(exchange, 405, 'expected GET or POST', { Allow: 'GET, HEAD, POST' });
  if (parts[0] === 'api') return site.get({ ...exchange, url, parts });
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

/** Listens on a port, or on a free one where that is taken; returns which. */
function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((done, fail) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' && port !== 0) listen(server, 0, host).then(done, fail);
      else fail(error);
    });
    server.listen(port, host, () => {
      server.removeAllListeners('error');
      done((server.address() as AddressInfo).port);
    });
  });
}
