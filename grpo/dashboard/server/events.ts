/** Server-sent events: what a run's folder has new, for every page that looks at it. */

import type { Exchange } from '../../serve/responses.js';
import { type EventStream, eventText as message, openStream } from '../../serve/stream.js';
import type { FeedVersion, RunFeed } from '../feed/run_feed.js';
import { withAges } from '../feed/workers.js';

/** A run that a page follows. */
export interface Followed {
  readonly id: string;
  readonly feed: RunFeed;
}

interface Listener {
  readonly stream: EventStream;
  readonly runs: readonly Followed[];
  /** What it was told last of each run. */
  readonly told: Map<RunFeed, FeedVersion>;
}

const interval = 500; // milliseconds between looks at the files

/** Pages that listen. Files are looked at only while somebody does. */
export class EventStreams {
  private readonly listeners = new Set<Listener>();
  private timer: NodeJS.Timeout | undefined;
  private isLooking = false;

  /** Answers a request with a stream that lasts until either side ends it. */
  add(exchange: Exchange, runs: readonly Followed[]): void {
    const told = new Map(runs.map(({ feed }) => [feed, feed.version]));
    const stream = openStream(exchange, () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.pause();
    });
    const listener = { stream, runs, told };
    this.listeners.add(listener);
    this.timer ??= setInterval(() => void this.look(), interval);
  }

  /** Ends every stream. */
  close(): void {
    this.pause();
    for (const { stream } of this.listeners) stream.end();
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
    } catch (error) {
      console.error(`dashboard: ${(error as Error).message}`); // a file that can't be read now may be readable in a moment
    } finally {
      this.isLooking = false;
    }
  }

  private tell({ stream, runs, told }: Listener): void {
    for (const run of runs) {
      const text = messagesOf(run, told.get(run.feed)!);
      if (text === '') continue;
      told.set(run.feed, run.feed.version);
      stream.send(text);
    }
  }
}

/** Many new rows at once, as after a pause, are not sent but fetched. */
const mostRows = 200;

/** What a reader that knows one version of a run needs to have the present one. */
function messagesOf({ id, feed }: Followed, known: FeedVersion): string {
  const { metrics, evaluations, probes, summary, workers, version } = feed;
  if (version.generation !== known.generation || version.rows - known.rows > mostRows)
    return message('afresh', { run: id });
  const from = known.rows;
  return [
    ...(version.rows > from ? [message('metrics', { run: id, from, columns: metrics.from(from) })] : []),
    ...(version.evaluations > known.evaluations ? [message('evaluations', { run: id, evaluations })] : []),
    ...(version.probes > known.probes ? [message('probes', { run: id, probes })] : []),
    ...(version.summary > known.summary ? [message('summary', { run: id, summary })] : []),
    ...(version.workers > known.workers ? [message('workers', { run: id, workers: withAges(workers) })] : []),
  ].join('');
}
