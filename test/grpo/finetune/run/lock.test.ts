/** Locks of folders: one owner at a time, however many want one and however it ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { FileError } from '../../../../engine/errors.js';
import { packageRoot } from '../../../../engine/version.js';
import { UsageError } from '../../../../grpo/finetune/errors.js';
import {
  addressOf,
  answers,
  holdFolder,
  listen,
  lockPath,
  type Owner,
  ownerOf,
  tryHolding,
} from '../../../../grpo/finetune/run/lock.js';
import { temporaryFolder } from '../../../temporary.js';

const root = temporaryFolder();
let made = 0;
async function newFolder(): Promise<string> {
  const folder = join(root, `folder${++made}`);
  await mkdir(folder);
  return folder;
}

const fileOf = async (folder: string): Promise<Owner> => JSON.parse(await readFile(lockPath(folder), 'utf8'));

/** Runs a script in a process of its own, with the lock's functions as `lock` and the folder as `folder`. */
function inProcess(script: string, folder: string): ChildProcess & { readonly text: Promise<string> } {
  const load =
    "import { runnerImport } from 'vite';" +
    "const { module: lock } = await runnerImport('./grpo/finetune/run/lock.ts', { configFile: false });" +
    'const [folder] = process.argv.slice(1);';
  const child = spawn(process.execPath, ['--input-type=module', '-e', load + script, '--', folder], {
    cwd: packageRoot(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  // What it says first.
  const text = once(child.stdout!, 'data').then(([data]) => String(data).trim());
  return Object.assign(child, { text });
}

const holds = "await lock.holdFolder(folder); console.log('held'); setInterval(() => {}, 1000);";

test('a folder is held once, by whoever the message says, and is free again when it is let go', async () => {
  const folder = await newFolder();
  const hold = await holdFolder(folder);
  expect(await ownerOf(folder)).toMatchObject({ pid: process.pid, host: hostname() });
  const message = `${folder}: process ${process.pid} is training this run (${lockPath(folder)})`;
  await expect(holdFolder(folder)).rejects.toThrow(new UsageError(message));
  await hold.release();
  expect(await readdir(folder)).toEqual([]);
  expect(await ownerOf(folder)).toBeUndefined();
  await (await holdFolder(folder)).release();
});

test('of many that want it at once one gets it, from nobody or from an owner that was killed', async () => {
  const folder = await newFolder();
  for (let round = 0; round < 20; round++) {
    if (round % 2 === 1) await writeFile(lockPath(folder), JSON.stringify(await deadOwner()));
    const all = await Promise.all(Array.from({ length: 12 }, () => tryHolding(folder)));
    const [hold, ...others] = all.filter((each) => 'release' in each);
    expect(others).toEqual([]);
    const { token } = await fileOf(folder);
    for (const each of all) if ('token' in each && round % 2 === 0) expect(each.token).toBe(token);
    await hold!.release();
    expect((await readdir(folder)).filter((name) => name === 'lock')).toEqual([]);
  }
});

test('the lock of a killed process is taken over at once, also that of one that was killed as it took one over', async () => {
  const folder = await newFolder();
  const child = inProcess(holds, folder);
  expect(await child.text).toBe('held');
  await expect(holdFolder(folder)).rejects.toThrow(`process ${child.pid} is training this run`);
  child.kill('SIGKILL');
  await once(child, 'exit');
  const { token } = await fileOf(folder);
  await writeFile(`${lockPath(folder)}.${token}`, JSON.stringify(await deadOwner()));
  const start = performance.now();
  const hold = await holdFolder(folder);
  expect(performance.now() - start).toBeLessThan(10_000); // an owner elsewhere would be waited for three times as long
  await hold.release();
  expect(await readdir(folder)).toEqual([]);
});

test.runIf(process.platform !== 'win32')(
  'a process that is stopped, or does not yield, holds it all the same',
  async () => {
    const folder = await newFolder();
    const child = inProcess(`${holds} setTimeout(() => { while (true); }, 10);`, folder);
    await child.text;
    child.kill('SIGSTOP');
    await expect(holdFolder(folder)).rejects.toThrow(`process ${child.pid}`);
    child.kill('SIGCONT');
    await new Promise((resolve) => setTimeout(resolve, 50));
    await expect(holdFolder(folder)).rejects.toThrow(`process ${child.pid}`);
  },
);

test('it keeps no process from ending, which takes it away; a child does not inherit it', async () => {
  const folder = await newFolder();
  const ending = inProcess("await lock.holdFolder(folder); console.log('held');", folder);
  expect(await ending.text).toBe('held');
  const [code] = await once(ending, 'exit');
  expect(code).toBe(0);
  expect(await readdir(folder)).toEqual([]);

  const script =
    "const { spawn } = await import('node:child_process'); await lock.holdFolder(folder);" +
    "const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)'], { detached: true, stdio: 'ignore' });" +
    'console.log(child.pid); setInterval(() => {}, 1000);';
  const parent = inProcess(script, folder);
  const grandchild = Number(await parent.text);
  onTestFinished(() => void process.kill(grandchild, 'SIGKILL'));
  expect(await ownerOf(folder)).toMatchObject({ pid: parent.pid });
  parent.kill('SIGKILL');
  await once(parent, 'exit');
  await (await holdFolder(folder)).release();
  expect(process.kill(grandchild, 0)).toBe(true);
});

/** What a process that ended without a word leaves: as it would be here, but that nobody listens. */
async function deadOwner(changes: Partial<Owner> = {}): Promise<Owner> {
  const folder = await newFolder();
  const hold = await holdFolder(folder);
  const own = await fileOf(folder);
  await hold.release();
  return { ...own, ...changes };
}

test('a process id that is in use again, by another process, is no owner', async () => {
  const folder = await newFolder();
  await writeFile(lockPath(folder), JSON.stringify(await deadOwner({ pid: process.ppid })));
  expect(await ownerOf(folder)).toBeUndefined();
  await (await holdFolder(folder)).release();
});

test('an owner on another machine is heard by the time of the file, and has ended when it is silent', async () => {
  const folder = await newFolder();
  const elsewhere = await deadOwner({ host: 'elsewhere', place: 'another boot', pid: 7 });
  await writeFile(lockPath(folder), JSON.stringify(elsewhere));
  const beat = setInterval(() => utimes(lockPath(folder), new Date(), new Date()), 20);
  onTestFinished(() => clearInterval(beat));
  await expect(holdFolder(folder, { silence: 1000 })).rejects.toThrow(`${folder}: process 7 on elsewhere is training`);
  expect(await ownerOf(folder)).toEqual(elsewhere);
  clearInterval(beat);
  const hold = await holdFolder(folder, { silence: 300 });
  expect(await fileOf(folder)).toMatchObject({ pid: process.pid });
  await hold.release();

  await writeFile(lockPath(folder), JSON.stringify(elsewhere));
  await utimes(lockPath(folder), new Date(), new Date(Date.now() - 600_000));
  expect(await ownerOf(folder)).toBeUndefined();
});

test.each(['', '{', '{}', '[]', 'null', '{"pid": 1, "host": "h", "place": "p", "token": "../../x"}'])(
  'a file that was not written to its end, or is of something else, is taken over: %j',
  async (text) => {
    const folder = await newFolder();
    await writeFile(lockPath(folder), text);
    const hold = await holdFolder(folder);
    expect(await fileOf(folder)).toMatchObject({ pid: process.pid });
    await hold.release();
    expect(await readdir(folder)).toEqual([]);
  },
);

test('where there is no folder, or no permission, the system has its say', async () => {
  await expect(holdFolder(join(root, 'none'))).rejects.toThrow(FileError);
  await expect(holdFolder(join(root, 'none'))).rejects.toThrow(/can't write .*lock: no such file or folder/);
});

test('sockets have the names that each system takes; those that are files work here too', async () => {
  expect(addressOf('ab', 'linux')).toBe('\0winnow-ab');
  expect(addressOf('ab', 'win32')).toBe('\\\\.\\pipe\\winnow-ab');
  if (process.platform === 'win32') return;
  const address = addressOf('0123456789abcdef01234567', 'darwin');
  expect(await answers(address)).toBe(false);
  const server = await listen(address);
  expect(await answers(address)).toBe(true);
  await expect(listen(address)).rejects.toThrow('EADDRINUSE');
  const waiting = connect(address); // is hung up on: nothing is sent
  await once(waiting, 'close');
  await new Promise((resolve) => server.close(resolve));
  expect(await answers(address)).toBe(false);
});
