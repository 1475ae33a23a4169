/** What a long command says: facts on stdout, progress and warnings on stderr, a live line and bold labels on a terminal alone. */
import { forbidsColor } from '../../engine/environment.js';
import type { Line } from '../finetune/report/run.js';

export interface ReporterOptions {
  /** One JSON object a line on stdout and nothing else there. */
  readonly json?: boolean;
  /** Only results, warnings and errors. */
  readonly quiet?: boolean;
}

export class Reporter {
  private isLive = false;

  constructor(private readonly options: ReporterOptions = {}) {}

  /** Whether a live line can be shown: stderr is a terminal, and nobody asked for quiet. */
  get live(): boolean {
    return process.stderr.isTTY === true && !this.options.quiet && !this.options.json;
  }

  /** A line of a run. */
  line({ text, level }: Line): void {
    const print = {
      fact: this.fact,
      result: this.result,
      progress: this.progress,
      hint: this.hint,
      warning: this.warn,
    };
    print[level].call(this, text);
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
    if (!shown) return;
    this.clear();
    const decorated = stream.isTTY === true && !forbidsColor();
    stream.write(`${decorated ? line.replace(/^(?:\S+)(?= {2,})/, '\x1b[1m$&\x1b[22m') : line}\n`);
  }
}

/** A line on stderr. */
export const warn = (line: string): void => {
  process.stderr.write(`${line}\n`);
};
