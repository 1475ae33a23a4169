/** Runs command lines, in this process or in one of their own, and catches what they print. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished, vi } from 'vitest';
import { packageRoot } from '../../../engine/version.js';
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

export interface Process {
  readonly child: ChildProcess;
  /** All that it has printed until now. */
  readonly printed: () => string;
  /** Waits until it has printed what fits. Throws where it ends without. */
  readonly until: (pattern: RegExp) => Promise<void>;
  /** Its status. */
  readonly ended: Promise<number | null>;
}

/** Starts `winnow` in a process of its own, which does not outlive the test. */
export function start(...args: string[]): Process {
  const main =
    "import { runnerImport } from 'vite';" +
    "const { module } = await runnerImport('./grpo/cli/program.ts', { configFile: false });" +
    'process.exitCode = await module.runProgram(process.argv.slice(1));';
  const child = spawn(process.execPath, ['--input-type=module', '-e', main, '--', ...args], {
    cwd: packageRoot(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL')); // after a timeout
  let text = '';
  for (const stream of [child.stdout!, child.stderr!])
    stream.on('data', (part: Buffer) => {
      text += part;
    });
  const ended = once(child, 'close').then(([code]) => code as number | null);
  const until = async (pattern: RegExp): Promise<void> => {
    while (!pattern.test(text)) {
      if (child.exitCode !== null) throw new Error(`ended with ${child.exitCode} without ${pattern}:\n${text}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  return { child, printed: () => text, until, ended };
}
