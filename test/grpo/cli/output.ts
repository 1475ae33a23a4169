/** Runs command lines in this process and catches what they print. */
import { vi } from 'vitest';
import { runProgram } from '../../../grpo/cli/program.js';

export interface Output {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `winnow` with arguments; stdout and stderr are those of pipes. */
export async function winnow(...args: string[]): Promise<Output> {
  let [stdout, stderr] = ['', ''];
  const out = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += text;
    return true;
  });
  const err = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += text;
    return true;
  });
  try {
    const status = await runProgram(args);
    return { status, stdout, stderr };
  } finally {
    out.mockRestore();
    err.mockRestore();
  }
}
