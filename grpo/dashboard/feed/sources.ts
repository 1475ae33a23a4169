/** The runs that are shown: folders that are given by name, and those below folders of runs, new ones as they come. */
import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { exists } from '../../../engine/files.js';
import { UsageError } from '../../finetune/errors.js';
import { findRun } from '../../finetune/run/list.js';
import { RunFeed, readInfoInside } from './run_feed.js';

/** A run in the list. */
export interface ListedFeed {
  /** Its folder's name, with a number behind it where two have the same. */
  readonly id: string;
  readonly folder: string;
}

/** A run in a list to choose from; its run.json may be unreadable. */
export interface DescribedRun extends ListedFeed {
  readonly info: Awaited<ReturnType<typeof readInfoInside>>;
}

/** The runs of a dashboard. Feeds live as long as it. */
export class Sources {
  private readonly feeds = new Map<string, RunFeed>();
  private ids = new Map<string, string>(); // id -> folder

  private constructor(
    private readonly runs: readonly string[],
    private readonly parents: readonly string[],
  ) {}

  /** Throws a UsageError for a name that is neither a run nor a folder. */
  static async open(given: readonly string[]): Promise<Sources> {
    const runs: string[] = [];
    const parents: string[] = [];
    for (const name of given) {
      const run = await findRun(name);
      if (run !== undefined) runs.push(resolve(run));
      else if (await exists(name)) parents.push(resolve(name));
      else throw new UsageError(`${name}: expected the folder of a run, its name below runs, or a folder of runs`);
    }
    const sources = new Sources(runs, parents);
    await sources.list();
    return sources;
  }

  /** The runs, those that were given first, then those below folders, newest first by name. */
  async list(): Promise<ListedFeed[]> {
    const folders = [...this.runs];
    for (const parent of this.parents) {
      const names = (await readdir(parent).catch(() => [])).sort().reverse();
      for (const name of names) {
        const folder = join(parent, name);
        if (!folders.includes(folder) && (this.feeds.has(folder) || (await exists(join(folder, 'run.json')))))
          folders.push(folder);
      }
    }
    // A run whose folder was deleted stays for those who look at it.
    for (const folder of this.feeds.keys()) if (!folders.includes(folder)) folders.push(folder);
    const counts = new Map<string, number>();
    const listed = folders.map((folder) => {
      const name = basename(folder);
      const count = (counts.get(name) ?? 0) + 1;
      counts.set(name, count);
      return { id: count === 1 ? name : `${name}~${count}`, folder };
    });
    this.ids = new Map(listed.map(({ id, folder }) => [id, folder]));
    return listed;
  }

  /** The run of an id, by the last list; undefined where there is none. Paths are never made of what a request says. */
  async feed(id: string): Promise<RunFeed | undefined> {
    if (!this.ids.has(id)) await this.list();
    const folder = this.ids.get(id);
    if (folder === undefined) return undefined;
    let feed = this.feeds.get(folder);
    if (!feed) {
      feed = new RunFeed(folder);
      this.feeds.set(folder, feed);
    }
    return feed;
  }

  /** The ids of the runs that were given by name, in their order. */
  get given(): readonly string[] {
    return [...this.ids].flatMap(([id, folder]) => (this.runs.includes(folder) ? [id] : []));
  }

  /** Every run with its run.json, for a list to choose from: those that were given, then the others, newest first. */
  async describe(): Promise<DescribedRun[]> {
    const listed = await this.list();
    const runs = await Promise.all(listed.map(async (run) => ({ ...run, info: await readInfoInside(run.folder) })));
    const isGiven = ({ folder }: ListedFeed): number => Number(this.runs.includes(folder));
    const start = ({ info }: DescribedRun): string => info?.started ?? '';
    return runs.sort((a, b) => isGiven(b) - isGiven(a) || (isGiven(a) ? 0 : start(b).localeCompare(start(a))));
  }
}
