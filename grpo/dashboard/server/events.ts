/** Server-sent events: what a run's folder has new, for every page that looks at it. */
import type { FeedVersion, RunFeed } from '../feed/run_feed.js';
import { type Exchange, sendHead } from './responses.js';

/** A run that a page follows. */
export interface Followed {
  readonly id: string;
  readonly feed: RunFeed;
}

interface Listener {
  readonly exchange: Exchange;
  readonly runs: readonly Followed[];
  /** What it was told last of each run. */
  readonly told: Map<RunFeed, FeedVersion>;
}

const interval = 500; // milliseconds between looks at the files
const silence = 15_000; // after which a line says that the connection lives

/**
 * Pages that listen. Each is greeted by `hello`, upon which it reads everything afresh: so it goes on after a lost connection
 * or a new server, whatever it has missed. Files are looked at only while somebody listens.
 */
export class EventStreams {
  private readonly listeners = new Set<Listener>();
  private timer: NodeJS.Timeout | undefined;
  private lastSent = 0;
  private isLooking = false;

  /** Answers a request with a stream that lasts until either side ends it. */
  add(exchange: Exchange, runs: readonly Followed[]): void {
    sendHead(exchange, 200, { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' });
    exchange.response.write(`retry: 1000\n\n${message('hello', {})}`);
    const told = new Map(runs.map(({ feed }) => [feed, feed.version]));
    const listener = { exchange, runs, told };
    this.listeners.add(listener);
    exchange.response.on('close', () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.pause();
    });
    this.timer ??= setInterval(() => void this.look(), interval);
  }

  /** Ends every stream. */
  close(): void {
    this.pause();
    for (const { exchange } of this.listeners) exchange.response.end();
    this.listeners.clear();
  }

  private pause(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private async look(): Promise<void> {
    if (this.isLooking) return;
    this.isLooking = true;
    try {
      const feeds = new Set([...this.listeners].flatMap(({ runs }) => runs.map(({ feed }) => feed)));
      for (const feed of feeds) await feed.refresh();
      for (const listener of this.listeners) this.tell(listener);
      if (Date.now() - this.lastSent > silence) {
        this.lastSent = Date.now();
        for (const { exchange } of this.listeners) exchange.response.write(': still here\n\n');
      }
    } catch (error) {
      console.error(`dashboard: ${(error as Error).message}`); // a file that can't be read now may be readable in a moment
    } finally {
      this.isLooking = false;
    }
  }

  private tell({ exchange, runs, told }: Listener): void {
    for (const run of runs) {
      const text = messagesOf(run, told.get(run.feed)!);
      if (text === '') continue;
      told.set(run.feed, run.feed.version);
      exchange.response.write(text);
      this.lastSent = Date.now();
    }
  }
}

const message = (event: string, data: unknown): string => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

/** Many new rows at once, as after a pause, are not sent but fetched. */
const mostRows = 200;

/** What a reader that knows one version of a run needs to have the present one. */
function messagesOf({ id, feed }: Followed, known: FeedVersion): string {
  const { metrics, evaluations, probes, summary, version } = feed;
  if (version.generation !== known.generation || version.rows - known.rows > mostRows)
    return message('afresh', { run: id });
  const from = known.rows;
  return [
    ...(version.rows > from ? [message('metrics', { run: id, from, columns: metrics.from(from) })] : []),
    ...(version.evaluations > known.evaluations ? [message('evaluations', { run: id, evaluations })] : []),
    ...(version.probes > known.probes ? [message('probes', { run: id, probes })] : []),
    ...(version.summary > known.summary ? [message('summary', { run: id, summary })] : []),
  ].join('');
}
