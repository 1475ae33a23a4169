/** What a run tells, as lines for a person: of a log and of a terminal. */
import { basename } from 'node:path';
import type { DoneEvent, FailedEvent, ProgressEvent, RunEvent, StartedEvent } from '../run/events.js';
import { shellQuote } from './shell.js';
import { doneLines, evaluationRow, headLines, statusLine, tableHead, tableRow } from './train.js';

/**
 * A line and what it is: a fact that can be left out, a result that is always shown, what is going on (`progress`), what to
 * do next (`hint`), or a warning.
 */
export interface Line {
  readonly text: string;
  readonly level: 'fact' | 'result' | 'progress' | 'hint' | 'warning';
}

const indent = ' '.repeat(11);
const lines = (level: Line['level'], ...texts: readonly string[]): Line[] => texts.map((text) => ({ text, level }));

/** A text of another machine as one line, which can't move a terminal's cursor or pass for a line of this one. */
const plain = (text: string): string => text.replace(/[\p{Cc}\p{Bidi_C}\u2028\u2029]+/gu, ' ');

/** The lines of an event, in order; none for where the work stands, which is one line that changes (liveLine). */
export function linesOf(event: RunEvent): Line[] {
  switch (event.kind) {
    case 'loading':
      return lines('progress', `loading ${event.model}`);
    case 'started':
      return [...lines('fact', ...headLines(event)), ...warningsOf(event), ...lines('fact', tableHead())];
    case 'progress':
    case 'probe':
    case 'previews':
      return [];
    case 'update':
      return lines('fact', tableRow(event.record, event.of));
    case 'pictures':
      return lines('progress', `${indent}drawn ${event.path}`);
    case 'evaluation':
      return lines('fact', evaluationRow(event.update, event.of, event.rewards, event.weights));
    case 'checkpoint':
      return lines('progress', `${indent}saved ${event.path}`);
    case 'warning':
      return lines('warning', event.message);
    case 'workers':
      return event.messages.flatMap(({ text, isWarning }) =>
        isWarning ? lines('warning', plain(text)) : lines('progress', `${indent}${plain(text)}`),
      );
    case 'done':
      return [...lines('result', ...doneLines(event)), ...lines('hint', ...nextLines(event))];
    case 'failed': {
      if (event.status === 'interrupted') return [];
      const what = event.checkpoint
        ? `the last checkpoint is ${event.checkpoint}`
        : `stopped after update ${event.updates}`;
      return lines('warning', `${what}; ${resumption(event)}`);
    }
  }
}

const warningsOf = ({ device }: StartedEvent): Line[] =>
  device.software
    ? lines('warning', 'this adapter is a CPU: fine for the embedded models, not for Stable Diffusion')
    : [];

/** How a run that has ended is gone on with. */
export const resumption = ({ run, checkpoint }: Pick<FailedEvent, 'run' | 'checkpoint'>): string =>
  checkpoint ? `go on with: winnow train --resume ${shellQuote(run)}` : 'there is no checkpoint yet';

/** What to look at, and what to do with what was learned. */
function nextLines({ run, updates, samples: [before, after, both], adapter }: DoneEvent): string[] {
  const look = both ?? `${before}${updates > 0 ? ` and ${basename(after!)}` : ''}`;
  return [`look  ${look}`, `next  winnow export ${shellQuote(run)}${adapter ? ' --format diffusers' : ''}`];
}

/** The line that shows where the work stands. */
export function liveLine({ at, ...event }: ProgressEvent): string {
  return at.phase === 'sampling' || at.phase === 'training'
    ? statusLine(at, event)
    : `${indent}[${at.phase}  picture ${at.done}/${at.of}]`;
}
