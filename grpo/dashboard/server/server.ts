/** The dashboard: a server of this machine that shows the folders of runs. */
import { resolve } from 'node:path';
import { checkReach, type GuardOptions } from '../../serve/guard.js';
import { pageFiles } from '../../serve/responses.js';
import { serveSite } from '../../serve/site.js';
import { Sources } from '../feed/sources.js';
import { EventStreams } from './events.js';
import { answerData, answerPost, type LiveRun } from './routes.js';

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
  const { token, live, readOnly = false, port = usualPort } = options;
  checkReach(options); // before any folder is read
  const sources = await Sources.open(options.runs);
  const streams = new EventStreams();
  const files = pageFiles('dashboard', {
    '/vendor/uplot.js': 'uplot/dist/uPlot.esm.js',
    '/vendor/uplot.css': 'uplot/dist/uPlot.min.css',
  });
  const buttons = live && !readOnly ? { ...live, folder: resolve(live.folder) } : undefined;
  const served = await serveSite({ ...options, port }, (guard) => {
    const room = { guard, sources, streams, live: buttons };
    return { files, get: (visit) => answerData(room, visit), post: (visit) => answerPost(room, visit) };
  });
  const shownRuns = sources.given.slice(0, 2).map((id): [string, string] => ['run', id]);
  const query = new URLSearchParams(token === undefined ? shownRuns : [['token', token], ...shownRuns]).toString();
  return {
    url: `${served.origin}${query && `/?${query}`}`,
    port: served.port,
    close: () => {
      streams.close();
      return served.close();
    },
  };
}
