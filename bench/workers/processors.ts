/** Processor time by Linux's /proc: of processes, and of all else that a machine does. */
import { readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

const ticks = 100; // a second

/** Seconds of processor time of a process so far. */
export function processorSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' '); // the name may have spaces
  return (Number(fields[11]) + Number(fields[12])) / ticks; // of user and of system
}

/** Seconds of processor time of the whole machine so far, all cores together. */
function allSeconds(): number {
  const [user, nice, system, , , ...interrupts] = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]!
    .split(/ +/)
    .slice(1, 9)
    .map(Number);
  return (user! + nice! + system! + interrupts.reduce((sum, each) => sum + each, 0)) / ticks;
}

/** What other processes than these, and than this one, do until the function that is returned is called: cores' worth of time. */
export function watchOthers(pids: readonly number[]): () => number {
  const busy = (): number => {
    const { user, system } = process.cpuUsage();
    return allSeconds() - pids.reduce((sum, pid) => sum + processorSeconds(pid), (user + system) / 1e6);
  };
  const [start, from] = [performance.now(), busy()];
  return () => Math.max(0, busy() - from) / ((performance.now() - start) / 1000);
}

/** Others' cores up to which a machine is quiet. */
export const quiet = 0.1;

/** Waits until others are quiet for a second, `patience` seconds at most. */
export async function untilQuiet(patience: number): Promise<void> {
  const end = performance.now() + 1000 * patience;
  while (performance.now() < end) {
    const others = watchOthers([]);
    await wait(1000);
    if (others() <= quiet) return;
  }
}
