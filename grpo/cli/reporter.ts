/** What a long command says: facts on stdout, progress and warnings on stderr, a live line and bold labels on a terminal alone. */

import { InterruptedError } from '../finetune/errors.js';
import { exitCodes } from './exit_codes.js';

export interface ReporterOptions {
  /** One JSON object a line on stdout and nothing else there. */
  readonly json?: boolean;
  /** Only results, warnings and errors. */
  readonly quiet?: boolean;
}

export class Reporter {
  /** Sees every line but the live one, without control codes: a log. */
  log: ((line: string) => void) | undefined;
  private isLive = false;

  constructor(private readonly options: ReporterOptions = {}) {}

  /** Whether a live line can be shown: stderr is a terminal, and nobody asked for quiet. */
  get live(): boolean {
    return process.stderr.isTTY === true && !this.options.quiet && !this.options.json;
  }

  /** A fact that --quiet leaves out. */
  fact(line: string): void {
    this.print(process.stdout, line, !this.options.json && !this.options.quiet);
  }

  /** A fact that is always shown. */
  result(line: string): void {
    this.print(process.stdout, line, !this.options.json);
  }

  /** What is going on. */
  progress(line: string): void {
    this.print(process.stderr, line, !this.options.json && !this.options.quiet);
  }

  /** What to do next: like a result, but no fact. */
  hint(line: string): void {
    this.print(process.stderr, line, !this.options.json);
  }

  warn(line: string): void {
    this.print(process.stderr, `! ${line}`, true);
  }

  /** A line of --json. */
  object(value: Readonly<Record<string, unknown>>): void {
    if (this.options.json) process.stdout.write(`${JSON.stringify(value)}\n`);
  }

  /** Overwrites the live line. */
  status(line: string): void {
    if (!this.live) return;
    process.stderr.write(`\r${line.slice(0, (process.stderr.columns || 120) - 1)}\x1b[K`);
    this.isLive = true;
  }

  /** Takes the live line away. */
  clear(): void {
    if (this.isLive) process.stderr.write('\r\x1b[K');
    this.isLive = false;
  }

  private print(stream: NodeJS.WriteStream, line: string, shown: boolean): void {
    this.log?.(line);
    if (!shown) return;
    this.clear();
    const decorated = stream.isTTY === true && !process.env.NO_COLOR;
    stream.write(`${decorated ? line.replace(/^(?:\S+)(?= {2,})/, '\x1b[1m$&\x1b[22m') : line}\n`);
  }
}

/** `###########-------` */
export function bar(share: number, width = 18): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return '#'.repeat(full) + '-'.repeat(width - full);
}

/** Seconds as a person reads them: `36 s`, `12 min`, `3.5 h`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 100) return `${seconds.toFixed(0)} s`;
  return seconds < 6000 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** An interruption that a command may end by in good order. */
export interface Interruption {
  /** Aborted by the first SIGINT or SIGTERM, with an InterruptedError. */
  readonly signal: AbortSignal;
  /** Signals end the process again, as they do without this. */
  release(): void;
}

/** Milliseconds within which a signal is the same one again: npm hands on a Ctrl-C that the terminal sends to both. */
const echo = 500;

/** Has the first signal ask for an end, and the second end the process at once. */
export function catchInterrupts(onFirst: () => void): Interruption {
  const controller = new AbortController();
  let first = 0;
  const interrupt = (given: NodeJS.Signals): void => {
    const signal = given === 'SIGTERM' ? 'SIGTERM' : 'SIGINT';
    if (!controller.signal.aborted) {
      first = performance.now();
      onFirst();
      controller.abort(new InterruptedError(signal));
    } else if (performance.now() - first > echo) {
      process.exit(signal === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated);
    }
  };
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
  return {
    signal: controller.signal,
    release: () => {
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
    },
  };
}
