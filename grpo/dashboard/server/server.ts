/** The dashboard: a server of this machine that shows the folders of runs. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { Sources } from '../feed/sources.js';
import { EventStreams } from './events.js';
import { checkReach, createGuard, type GuardOptions, isLoopback } from './guard.js';
import { pageFiles, sendText } from './responses.js';
import { answer, type LiveRun, type Site } from './routes.js';

export const usualPort = 8674;

export interface DashboardOptions extends GuardOptions {
  /** Runs by their folders or names, and folders of runs. */
  readonly runs: readonly string[];
  /** Default 8674; another that is free where it is taken. 0: any. */
  readonly port?: number | undefined;
  /** No buttons. Default false. */
  readonly readOnly?: boolean | undefined;
  /** A run that this process trains: its page has buttons. */
  readonly live?: LiveRun | undefined;
}

export interface Dashboard {
  /** What to open: with the first runs that were given, and with the token where one was. */
  readonly url: string;
  readonly port: number;
  /** Ends every connection. */
  close(): Promise<void>;
}

/** Starts the dashboard. Throws a UsageError for a run that is none, or a host beyond loopback without a token. */
export async function startDashboard(options: DashboardOptions): Promise<Dashboard> {
  const { host = '127.0.0.1', token, live, readOnly = false } = options;
  checkReach(options);
  const sources = await Sources.open(options.runs);
  const streams = new EventStreams();
  const files = pageFiles();
  const server = createServer();
  const port = await listen(server, options.port ?? usualPort, host);
  const site: Site = {
    guard: createGuard(options, port),
    sources,
    streams,
    files,
    live: live && !readOnly ? { ...live, folder: resolve(live.folder) } : undefined,
  };
  server.on('request', (request, response) => {
    const exchange = { request, response };
    answer(site, exchange).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else sendText(exchange, 500, error instanceof Error ? error.message : String(error));
    });
  });
  const shown = isLoopback(host) ? host : host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  const shownRuns = sources.given.slice(0, 2).map((id): [string, string] => ['run', id]);
  const query = new URLSearchParams(token === undefined ? shownRuns : [['token', token], ...shownRuns]).toString();
  return {
    url: `http://${shown.includes(':') ? `[${shown}]` : shown}:${port}${query && `/?${query}`}`,
    port,
    close: () =>
      new Promise((done) => {
        streams.close();
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
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
