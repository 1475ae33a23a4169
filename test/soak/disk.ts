/** Disks that are full or read-only, folders and files that are taken away while a run writes them. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { readCheckpointInfo } from '../../grpo/checkpoint.js';
import { exitCodes } from '../../grpo/finetune/exit_codes.js';
import { runChild, type SoakOptions, type SoakResult, tinyUpdates, writeTinyConfig } from './soak.js';

interface DiskFault {
  readonly name: string;
  /** Needs a file system of its own, which only root may mount. */
  readonly mount?: string;
  /** Done when the first checkpoint is there. */
  readonly spoil?: (run: string, disk: string) => Promise<void> | void;
  /** What the message says besides the path; absent where the run is to go on. */
  readonly reason?: RegExp;
}

const faults: readonly DiskFault[] = [
  { name: 'a full disk', mount: 'size=120k', reason: /no space left on the disk \(ENOSPC\)/ },
  {
    name: 'a disk that becomes read-only',
    mount: 'size=4m',
    spoil: (_, disk) => void execFileSync('mount', ['-o', 'remount,ro', disk]),
    reason: /read-only \(EROFS\)/,
  },
  {
    name: "a run's folder that is removed",
    spoil: (run) => rm(run, { recursive: true, force: true }),
    reason: /can't write .*: no such file or folder/,
  },
  {
    name: 'checkpoints that are moved away',
    spoil: (run) => rename(join(run, 'checkpoints'), join(run, 'elsewhere')),
  },
  {
    name: 'metrics that can not be written any more',
    spoil: async (run) => {
      await rm(join(run, 'metrics.jsonl'));
      await symlink('/dev/full', join(run, 'metrics.jsonl'));
    },
    reason: /metrics\.jsonl: no space left on the disk \(ENOSPC\)/,
  },
  {
    name: 'a file that becomes a folder',
    spoil: async (run) => {
      await rm(join(run, 'groups.jsonl'));
      await mkdir(join(run, 'groups.jsonl'));
    },
    reason: /groups\.jsonl: a folder, expected a file/,
  },
];

/** `count` of the faults, in turn; those that need a file system of their own only as root on Linux. */
export async function soakDisk({ count, folder, log }: SoakOptions): Promise<SoakResult> {
  const config = await writeTinyConfig(folder);
  const mayMount = process.platform === 'linux' && process.getuid?.() === 0 && canMount(folder);
  const failures: string[] = [];
  let cases = 0;
  for (const { name, mount, spoil, reason } of faults.slice(0, count)) {
    if (mount && !mayMount) {
      log(`disk: ${name} is left out, as nothing can be mounted here`);
      continue;
    }
    if (process.platform === 'win32' && /dev.full|becomes/.test(name)) continue;
    const disk = join(folder, `disk-${cases}`);
    await mkdir(disk, { recursive: true });
    if (mount) execFileSync('mount', ['-t', 'tmpfs', '-o', mount, 'tmpfs', disk]);
    try {
      const run = join(disk, 'run');
      let spoilt: Promise<void> | undefined;
      const { code, text } = await runChild(['--run', config, disk, 'run', String(tinyUpdates)], (said) => {
        if (spoil && !spoilt && said.includes('saved 1')) spoilt = Promise.resolve(spoil(run, disk));
      });
      await spoilt;
      if (code !== (reason ? exitCodes.badFile : exitCodes.done))
        failures.push(`${name}: ended with ${code}: ${text.slice(-600)}`);
      else if (reason && !reason.test(text)) failures.push(`${name}: says ${text.slice(-600)}`);
      const problem = await brokenCheckpoint(run);
      if (problem) failures.push(`${name}: ${problem}`);
    } finally {
      if (mount) execFileSync('umount', [disk]);
    }
    cases++;
  }
  log(`disk: ${cases} faults, ${failures.length} failures`);
  return { cases, failures };
}

function canMount(folder: string): boolean {
  const disk = join(folder, 'may-mount');
  try {
    execFileSync('mkdir', ['-p', disk]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk], { stdio: 'ignore' });
    execFileSync('umount', [disk]);
    return true;
  } catch {
    return false;
  }
}

/** What is wrong with the checkpoints that still have their names. */
async function brokenCheckpoint(run: string): Promise<string | undefined> {
  const checkpoints = join(run, 'checkpoints');
  if (!existsSync(checkpoints)) return undefined;
  for (const name of (await readdir(checkpoints)).filter((each) => /^\d+$/.test(each))) {
    const problem = await readCheckpointInfo(join(checkpoints, name)).then(
      () => undefined,
      (error: Error) => error.message,
    );
    if (problem) return problem;
  }
  return undefined;
}
