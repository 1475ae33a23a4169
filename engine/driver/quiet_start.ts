/**
 * Lines of Dawn's at every start that say nothing a user needs. It prints them by C's stderr in the middle of
 * requestAdapter(), past every callback and toggle: on Linux, file descriptor 2 leads through sed for that one call.
 */
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, constants, fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isatty } from 'node:tty';

/** sed's commands that delete them. */
export const harmlessLines: readonly string[] = [
  // Dawn's cap on two limits that most drivers have far above it.
  '/^Warning: maxDynamic[A-Z][a-z]*BuffersPerPipelineLayout artificially reduced from [0-9]* to [0-9]* to fit dynamic offset allocation limit\\.$/d',
  // A Vulkan loader without a driver: findAdapter() provides one and says so, or says what to install.
  '/^Warning: vkCreateInstance: Found no drivers!$/d',
  '/^Warning: vkCreateInstance failed with VK_ERROR_INCOMPATIBLE_DRIVER$/,/^$/d',
];

/**
 * Calls `body`, and leaves out what sed's `commands` delete of the lines that native code prints on stderr before `body`
 * returns. Everything else comes in order, also when the process crashes meanwhile. Where that can't be had (other systems,
 * a stderr that is a socket or a file not appended to, no sed), `body` is just called.
 */
export async function withoutLines<R>(commands: readonly string[], body: () => Promise<R>): Promise<R> {
  const diverted = process.platform === 'linux' ? divertStderr(commands) : undefined;
  if (!diverted) return body();
  const result = (async () => body())(); // what it throws at once is thrown later, too
  diverted.restore();
  await Promise.allSettled([result, diverted.drained]);
  return result;
}

const { O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_NOCTTY, O_NONBLOCK } = constants;

/** Puts sed in front of stderr until `restore()`; `drained` settles when all has arrived. Undefined where it can't be done. */
function divertStderr(commands: readonly string[]): { restore(): void; drained: Promise<void> } | undefined {
  const descriptors: number[] = [];
  const open = (path: string, flags: number): number => {
    const descriptor = openSync(path, flags);
    descriptors.push(descriptor);
    return descriptor;
  };
  const closeAll = (): void => {
    for (const descriptor of descriptors) closeSync(descriptor);
  };
  try {
    const flags = flagsOfStderr();
    if (flags === undefined) return undefined;
    const old = open('/proc/self/fd/2', flags);
    const { entry, exit } = openPipe(open);
    const sed = spawn(
      'sed',
      commands.flatMap((command) => ['-e', command]),
      { stdio: [exit, 2, 2] },
    );
    const drained = new Promise<void>((resolve) => {
      sed.on('error', () => resolve()).on('exit', () => resolve());
    });
    if (sed.pid === undefined) throw new Error('there is no sed');
    replaceStderr(entry, O_WRONLY);
    const restore = (): void => {
      replaceStderr(old, flags);
      closeAll();
    };
    return { restore, drained };
  } catch {
    closeAll();
    return undefined;
  }
}

/**
 * How stderr can be opened anew, as Node has no dup() to put the old one back by. A terminal, a pipe and a file that is
 * appended to don't mind, another file would lose its place, and a socket can't be opened.
 */
function flagsOfStderr(): number | undefined {
  if (isatty(2)) return O_RDWR | O_NOCTTY;
  if (fstatSync(2).isFIFO()) return O_WRONLY | O_NONBLOCK; // fails where nobody reads any more, instead of waiting
  const [, flags = ''] = /^flags:\s*([0-7]+)/m.exec(readFileSync('/proc/self/fdinfo/2', 'utf8')) ?? [];
  return fstatSync(2).isFile() && Number.parseInt(flags, 8) & O_APPEND ? O_WRONLY | O_APPEND : undefined;
}

/** The two ends of a new pipe that can be opened by their path below /proc, which those that Node makes can't. */
function openPipe(open: (path: string, flags: number) => number): { entry: number; exit: number } {
  const folder = mkdtempSync(join(tmpdir(), 'winnow-'));
  try {
    const path = join(folder, 'pipe');
    spawnSync('mkfifo', [path]);
    open(path, O_RDONLY | O_NONBLOCK); // the other two would wait for each other
    return { entry: open(path, O_WRONLY), exit: open(path, O_RDONLY) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Makes file descriptor 2 what another one is: what is opened takes the lowest number that is free. */
function replaceStderr(descriptor: number, flags: number): void {
  closeSync(2);
  try {
    openSync(`/proc/self/fd/${descriptor}`, flags);
  } catch {
    openSync('/dev/null', O_WRONLY); // a pipe whose reader has gone meanwhile
  }
}
