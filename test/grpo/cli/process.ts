/** Runs command lines in processes of their own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import { packageRoot } from '../../../engine/version.js';

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
