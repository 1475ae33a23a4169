/** What the files of a run take of its events. */
import { join } from 'node:path';
import { messageOf } from '../../../engine/errors.js';
import { replaceFile, writing } from '../../../engine/files.js';
import { exitCodeOf } from '../exit_codes.js';
import { linesOf } from '../report/run.js';
import { readWorkersFile, type WorkersFile, withAllLeft, workersFile } from '../workers/workers_file.js';
import type { RunEvent, Sink } from './events.js';
import type { RunFolder } from './folder.js';
import type { RunInfo } from './info.js';
import { evaluationRecord, probeRecord } from './metrics.js';

/** metrics.jsonl, groups.jsonl, evaluations.jsonl and probes.jsonl. */
export const recordsSink =
  (run: RunFolder): Sink =>
  async (event) => {
    if (event.kind === 'update') {
      await run.append('groups', event.groups);
      await run.append('metrics', [event.record]);
    }
    if (event.kind === 'probe') await run.append('probes', [probeRecord(event.update, event.probe)]);
    if (event.kind === 'evaluation')
      await run.append('evaluations', [evaluationRecord(event.update, event.seed, event.scores)]);
  };

/** run.json. */
export const infoSink =
  (run: RunFolder): Sink =>
  async (event) => {
    const changes = changesOf(event, run.info);
    if (changes) await run.change(changes);
  };

function changesOf(event: RunEvent, { totals }: RunInfo): Partial<RunInfo> | undefined {
  switch (event.kind) {
    case 'update': {
      const { update, seconds, counts } = event;
      const { calls, decodes, trained } = totals;
      const sums = {
        calls: calls + counts.calls,
        decodes: decodes + counts.decodes,
        trained: trained + counts.trained,
      };
      return { updates: update, seconds, totals: sums };
    }
    case 'done':
      return {
        status: 'done',
        seconds: event.seconds,
        rewards: event.rewards,
        exit: { code: 0, reason: 'done' },
      };
    case 'failed': {
      const { status, seconds, error } = event;
      const reason = messageOf(error);
      return { status, seconds, exit: { code: exitCodeOf(error), reason } };
    }
    default:
      return undefined;
  }
}

/** workers.json. Nobody works on a run that has ended, nor, until a worker comes, on one whose trainer was killed and goes on. */
export const workersSink =
  (run: RunFolder): Sink =>
  async (event) => {
    const file = await workersAfter(event, run.path);
    const path = join(run.path, workersFile);
    if (file)
      await writing(path, () =>
        replaceFile(path, (handle) => handle.writeFile(`${JSON.stringify(file, null, 2)}\n`), { durable: false }),
      );
  };

async function workersAfter(event: RunEvent, folder: string): Promise<WorkersFile | undefined> {
  switch (event.kind) {
    case 'workers':
      return event.file;
    case 'started':
    case 'done':
    case 'failed': {
      const file = await readWorkersFile(folder);
      return file && withAllLeft(file);
    }
    default:
      return undefined;
  }
}

/** log.txt: the lines that a terminal shows. */
export const logSink =
  (run: RunFolder): Sink =>
  (event) => {
    for (const { text, level } of linesOf(event)) run.log(level === 'warning' ? `! ${text}` : text);
  };

/**
 * Hands every event to each sink before its reader has it. A sink that throws ends the run by its error, as if the run
 * itself had thrown it; where the reader stops reading, the run is interrupted: it saves, and its last events reach the sinks.
 */
export async function* recorded(
  events: AsyncGenerator<RunEvent, void, undefined>,
  sinks: readonly Sink[],
  interruption: () => unknown,
): AsyncGenerator<RunEvent, void, undefined> {
  let next = (): Promise<IteratorResult<RunEvent, void>> => events.next();
  let isOver = false;
  let isBroken = false;
  /** The next event after the sinks have had it; undefined at the end. */
  const read = async (): Promise<RunEvent | undefined> => {
    const { value, done } = await next().catch((error: unknown) => {
      isOver = true;
      throw error;
    });
    next = () => events.next();
    if (done) isOver = true;
    if (!value) return undefined;
    try {
      for (const sink of sinks) await sink(value);
    } catch (error) {
      if (isBroken) return value; // what can't be written is why the run ends: the others still hear of it
      isBroken = true;
      next = () => events.throw(error);
    }
    return value;
  };
  try {
    for (let event = await read(); event; event = await read()) yield event;
  } finally {
    if (!isOver) {
      next = () => events.throw(interruption());
      while (!isOver) await read().catch(() => {}); // the interruption itself, which nobody waits for
    }
  }
}
