/** Runs command lines in this process and catches what they print. */
import { runProgram } from '../../../grpo/cli/program.js';

export interface Output {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `winnow` with arguments; stdout and stderr are those of pipes. */
export async function winnow(...args: string[]): Promise<Output> {
  const texts = { stdout: '', stderr: '' };
  const catchText = (name: keyof typeof texts): (() => void) => {
    const stream = process[name];
    const { write } = stream;
    stream.write = (text: string | Uint8Array) => {
      texts[name] += text;
      return true;
    };
    return () => {
      stream.write = write;
    };
  };
  const release = [catchText('stdout'), catchText('stderr')];
  try {
    const status = await runProgram(args);
    return { status, ...texts };
  } finally {
    for (const each of release) each();
  }
}
