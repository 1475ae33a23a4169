/** A run's folder as data: read as far as it is written, again and again, whether the run lives or is over. */

import { join } from 'node:path';
import { z } from 'zod';
import { exists } from '../../../engine/files.js';
import { livelyInfo, type RunInfo } from '../../finetune/run/info.js';
import { namesInside, openInside, tailInside } from '../../serve/inside.js';
import { ColumnStore } from './columns.js';
import { type ConfigChanges, configChanges } from './config_changes.js';
import { GroupIndex, type GroupKey } from './groups.js';
import { GrowingFile, parseLine } from './growing_file.js';
import { readWorkers, type ShownWorkers } from './workers.js';

type JsonObject = Readonly<Record<string, unknown>>;

/** What a page shows of a run besides its curves. */
export interface RunSummary {
  readonly folder: string;
  /** Its folder was deleted; the rest is what was last read. */
  readonly gone: boolean;
  readonly info: RunInfo | undefined;
  readonly config: ConfigChanges | undefined;
  readonly log: readonly string[];
  /** Updates after which samples were drawn, and whether before and after stand on one picture. */
  readonly samples: readonly number[];
  readonly beforeAfter: boolean;
  /** Groups whose previews are kept as pictures, oldest first, by their index in groups.jsonl where they are there. */
  readonly previews: readonly (GroupKey & { readonly index: number })[];
  /** Groups in groups.jsonl, and lines of metrics.jsonl. */
  readonly groups: number;
  readonly updates: number;
  /** Index of the newest group whose previews are kept, or of the newest; -1 where there is none. */
  readonly newestGroup: number;
}

/** How often each part has changed: by these a reader knows what it has not seen. */
export interface FeedVersion {
  /** How often metrics.jsonl began anew, and how many rows it has. */
  readonly generation: number;
  readonly rows: number;
  readonly evaluations: number;
  readonly probes: number;
  readonly summary: number;
  readonly workers: number;
}

export class RunFeed {
  readonly metrics = new ColumnStore();
  /** Without the scores of single pictures. */
  readonly evaluations: JsonObject[] = [];
  /** Without the rewards of single pictures. */
  readonly probes: JsonObject[] = [];
  private readonly groups: GroupIndex;
  private readonly files: Readonly<Record<'metrics' | 'evaluations' | 'probes', GrowingFile>>;
  private config: ConfigChanges | undefined;
  private configHash: string | undefined;
  private current: RunSummary;
  private working: ShownWorkers | undefined;
  private texts = { summary: '', workers: '' };
  private at: Promise<void> = Promise.resolve();
  private counts = { generation: 0, evaluations: 0, probes: 0, summary: 0, workers: 0 };

  constructor(readonly folder: string) {
    this.groups = new GroupIndex(folder);
    const growing = (name: string) => new GrowingFile(folder, `${name}.jsonl`);
    this.files = { metrics: growing('metrics'), evaluations: growing('evaluations'), probes: growing('probes') };
    this.current = {
      folder,
      gone: false,
      info: undefined,
      config: undefined,
      log: [],
      samples: [],
      beforeAfter: false,
      previews: [],
      groups: 0,
      updates: 0,
      newestGroup: -1,
    };
  }

  get summary(): RunSummary {
    return this.current;
  }

  /** Who works on the run, or worked; undefined for a run without workers. */
  get workers(): ShownWorkers | undefined {
    return this.working;
  }

  get version(): FeedVersion {
    return { ...this.counts, rows: this.metrics.length };
  }

  /** Reads what is new. Calls wait for each other. */
  refresh(): Promise<void> {
    this.at = this.at.then(
      () => this.read(),
      () => this.read(),
    );
    return this.at;
  }

  /** The index-th group, with the pictures of its previews where they are kept; undefined where there is none. */
  async group(index: number): Promise<JsonObject | undefined> {
    const record = await this.groups.read(index);
    if (!record) return undefined;
    const name = `${String(record.update).padStart(6, '0')}_${record.group}.json`;
    const text = await previewText(this.folder, name);
    return { index, record, previews: text === undefined ? null : (parseLine(Buffer.from(text)) ?? null) };
  }

  private async read(): Promise<void> {
    if (!(await exists(join(this.folder, 'run.json')))) return this.change({ gone: true });
    await this.files.metrics.advance({
      restart: () => {
        this.metrics.clear();
        this.counts.generation++;
      },
      line: (bytes) => this.metrics.add(parseLine(bytes) ?? {}),
    });
    await this.groups.advance();
    await this.advance('evaluations', ({ scores: _, ...rest }) => rest);
    await this.advance('probes', ({ previews: _, finals: __, kept: ___, ...rest }) => rest);
    this.change(await this.readSummary());
    this.working = await readWorkers(this.folder, this.current.info?.status === 'running');
    this.count('workers', this.working);
  }

  private async advance(records: 'evaluations' | 'probes', shorten: (record: JsonObject) => JsonObject): Promise<void> {
    const list = this[records];
    const isNew = await this.files[records].advance({
      restart: () => {
        list.length = 0;
      },
      line: (bytes) => {
        const record = parseLine(bytes);
        if (record) list.push(shorten(record));
      },
    });
    if (isNew) this.counts[records]++;
  }

  private async readSummary(): Promise<Partial<RunSummary>> {
    const info = await readInfoInside(this.folder);
    if (info?.configHash !== this.configHash || !this.config) {
      this.config = await configChanges(this.folder);
      this.configHash = info?.configHash;
    }
    const samples = await namesInside(this.folder, 'samples');
    const previews = (await namesInside(this.folder, 'previews')).flatMap((name) => {
      const [, update, group] = /^(\d+)_(\d+)\.json$/.exec(name) ?? [];
      if (update === undefined) return [];
      const key = { update: Number(update), group: Number(group) };
      return [{ ...key, index: this.groups.find(key) }];
    });
    previews.sort((a, b) => a.update - b.update || a.group - b.group);
    return {
      gone: false,
      info: info ?? this.current.info,
      config: this.config,
      log: await tailInside(this.folder, 'log.txt'),
      samples: samples
        .flatMap((name) => /^(\d+)\.png$/.exec(name)?.[1] ?? [])
        .map(Number)
        .sort((a, b) => a - b),
      beforeAfter: samples.includes('before_after.png'),
      previews,
      newestGroup: previews.findLast(({ index }) => index >= 0)?.index ?? this.groups.length - 1,
      groups: this.groups.length,
      updates: this.metrics.length,
    };
  }

  private change(changes: Partial<RunSummary>): void {
    this.current = { ...this.current, ...changes };
    this.count('summary', this.current);
  }

  /** Counts a part's value where it is not the last one. */
  private count(part: 'summary' | 'workers', value: unknown): void {
    const text = JSON.stringify(value) ?? '';
    if (text !== this.texts[part]) this.counts[part]++;
    this.texts[part] = text;
  }
}

async function previewText(folder: string, name: string): Promise<string | undefined> {
  const file = await openInside(folder, 'previews', name);
  try {
    return await file?.readFile('utf8');
  } finally {
    await file?.close();
  }
}

/** run.json, of a run whose process has ended without a word as failed; undefined where it is not whole. */
export async function readInfoInside(folder: string): Promise<RunInfo | undefined> {
  const file = await openInside(folder, 'run.json');
  await file?.close();
  const info = file && (await livelyInfo(folder).catch(() => undefined));
  return shownSchema.safeParse(info).success ? info : undefined;
}

/** What is shown of run.json besides what its reader has checked. */
const shownSchema = z.looseObject({
  versions: z.looseObject({ winnow: z.string(), node: z.string() }),
  platform: z.string(),
  adapter: z.string(),
  git: z.string().optional(),
  model: z.looseObject({ parameters: z.number(), trainable: z.number() }),
  totals: z.looseObject({ calls: z.number(), decodes: z.number(), trained: z.number() }),
});
