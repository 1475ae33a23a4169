/**
 * A run for TensorBoard, in tb/ of its folder: scalars by the names of metrics.jsonl, histograms of rewards, sample grids, the
 * configuration. A file is only ever added to, whole records at a time: whatever a kill leaves is read up to its last whole
 * record. A run that goes on begins a file of its own, which first says which steps of the files before it are done again.
 */
import { appendFile, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exists, writing } from '../../../engine/files.js';
import { formatConfig } from '../config/format.js';
import type { RunEvent, Sink } from '../run/events.js';
import type { RunFolder } from '../run/folder.js';
import { type EventContent, eventRecord, type SummaryValue } from './event_file.js';

/** Writes the files; `updates` are done already when the run goes on. */
export function tensorboardSink(run: RunFolder, updates: number): Sink {
  const folder = join(run.path, 'tb');
  let file: string | undefined;
  let drawnBefore = false;
  const write = async (step: number, ...contents: readonly EventContent[]): Promise<void> => {
    const records = contents.map((content) => eventRecord(content, { step, time: Date.now() / 1000 }));
    await writing(file!, () => appendFile(file!, Buffer.concat(records)));
  };
  return async (event) => {
    if (event.kind === 'started') {
      await writing(folder, () => mkdir(folder, { recursive: true }));
      file = join(folder, await nextName(folder));
      drawnBefore = updates > 0 && (await exists(run.sample(updates)));
      const step = updates === 0 ? 0 : updates + 1;
      await write(step, { kind: 'version' }, { kind: 'start' }); // the first one's start takes nothing back
      await write(step, summary({ config: { kind: 'text', text: markdownOf(formatConfig(event.config)) } }));
      return;
    }
    if (!file) return;
    const found = await summaryOf(event);
    // A run that had come to its end draws the same pictures again: they stand in the files before.
    const isAgain = drawnBefore && found?.step === updates && (event.kind === 'pictures' || event.kind === 'done');
    if (found && !isAgain) await write(found.step, summary(found.values));
  };
}

type Values = Readonly<Record<string, SummaryValue['value']>>;

const summary = (values: Values): EventContent => ({
  kind: 'summary',
  values: Object.entries(values).map(([tag, value]) => ({ tag, value })),
});

const scalars = (values: Readonly<Record<string, number>>): Values =>
  Object.fromEntries(Object.entries(values).map(([name, scalar]) => [name, { kind: 'scalar', scalar }]));

/** What stands in the files of an event; undefined where nothing does. */
async function summaryOf(event: RunEvent): Promise<{ step: number; values: Values } | undefined> {
  switch (event.kind) {
    case 'update': {
      const { update: step, ...values } = event.record;
      const [all, kept] = [event.rewards.all, event.rewards.kept].map((list) => ({
        kind: 'histogram' as const,
        values: list,
      }));
      return { step: step!, values: { ...scalars(values), 'rewards/all': all!, 'rewards/kept': kept! } };
    }
    case 'evaluation': {
      const means = Object.entries(event.rewards).map(([name, { mean }]) => [`eval/${name}`, mean] as const);
      return { step: event.update, values: scalars(Object.fromEntries(means)) };
    }
    case 'pictures':
      return { step: event.update, values: { samples: await imageOf(event.path) } };
    case 'done': {
      const [, , both] = event.samples;
      return both === undefined ? undefined : { step: event.updates, values: { before_after: await imageOf(both) } };
    }
    default:
      return undefined;
  }
}

async function imageOf(path: string): Promise<SummaryValue['value']> {
  const png = new Uint8Array(await readFile(path));
  const view = new DataView(png.buffer);
  return { kind: 'image', png, width: view.getUint32(16), height: view.getUint32(20) }; // of its first chunk
}

/** Every line as code. */
const markdownOf = (text: string): string => text.replace(/^/gm, '    ');

/** TensorBoard reads files by the order of their names: a later one must not come before, whatever the clock says. */
async function nextName(folder: string): Promise<string> {
  const times = (await readdir(folder)).map((name) => Number(/^events\.out\.tfevents\.(\d+)\./.exec(name)?.[1] ?? 0));
  const time = Math.max(Math.floor(Date.now() / 1000), ...times.map((each) => each + 1));
  return `events.out.tfevents.${String(time).padStart(10, '0')}.winnow`;
}
