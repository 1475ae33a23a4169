/**
 * A folder that one process at a time may write to, by a lock that dies with its owner.
 *
 * The file `lock` in the folder names its owner and a socket that the owner listens on: a Unix socket without a file on Linux,
 * a pipe on Windows, a socket of a random name among the temporary files elsewhere. The kernel closes it when the process
 * ends, however it ends, and no other process ever listens under that random name: a process id that was given out again
 * proves nothing and is not looked at. Whoever finds the file asks the socket; the kernel answers, so that an owner which is
 * busy, or stopped, is alive all the same.
 *
 * What holds:
 * - Of any number of processes that want the folder at once, one gets it; the others learn who has it.
 * - A lock whose owner ended on this machine, killed or not, is taken over at once.
 * - Sockets reach no other machine, nor a container with a network of its own. There the owner renews the time of the file
 *   every few seconds, and only one that has been silent for half a minute is taken to have ended.
 * - Nothing of it keeps a process from ending, and child processes inherit none of it.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { readFile, readlink, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { writing } from '../../../engine/files.js';
import { UsageError } from '../errors.js';

/** Who holds a folder: what the file says. */
export interface Owner {
  readonly pid: number;
  readonly host: string;
  /** Where its socket can be reached from: a machine since it was started, and a network on it. */
  readonly place: string;
  /** Random: names the socket, and tells this lock from every other. */
  readonly token: string;
}

/** A folder that this process holds. */
export interface Hold {
  /** Lets it go. */
  release(): Promise<void>;
}

export interface HoldOptions {
  /** Milliseconds of silence after which an owner that can't be asked is taken to have ended. Default 30,000. */
  readonly silence?: number;
}

/** Milliseconds between renewals of the file's time, a sixth of the silence: a process may be busy for a while. */
const renewal = 5000;
/** Milliseconds after which a file that is not whole is one whose writer was killed. */
const writingTime = 1000;
/** Milliseconds since the last renewal after which an owner that can't be asked is listed as ended. */
const longSilence = 300_000;

const isWindows = process.platform === 'win32';

export const lockPath = (folder: string): string => join(folder, 'lock');

/** Whether a file in a folder is its lock, or the right to take that over. */
export const isLockFile = (name: string): boolean => /^lock(\.|$)/.test(name);

/** Holds a folder. Throws a UsageError that says who holds it, a FileError where the system refuses. */
export async function holdFolder(folder: string, options: HoldOptions = {}): Promise<Hold> {
  const held = await tryHolding(folder, options);
  if ('release' in held) return held;
  const where = held.host === hostname() ? '' : ` on ${held.host}`;
  throw new UsageError(`${folder}: process ${held.pid}${where} is training this run (${lockPath(folder)})`);
}

/** Holds a folder, or says who does. Throws a FileError where the system refuses. */
export async function tryHolding(folder: string, { silence = 30_000 }: HoldOptions = {}): Promise<Hold | Owner> {
  const path = lockPath(folder);
  const own: Owner = {
    pid: process.pid,
    host: hostname(),
    place: await placeOf(),
    token: randomBytes(12).toString('hex'),
  };
  const address = addressOf(own.token);
  const server = await writing(path, () => listen(address));
  const owner = await writing(path, () => claim(path, own, silence)).catch((error: unknown) => {
    server.close();
    throw error;
  });
  if (owner) {
    server.close();
    return owner;
  }
  const renew = setInterval(() => {
    const now = new Date();
    // Where the socket is a file, that too: temporary files that look old are cleared away.
    for (const file of isAbsolute(address) && !isWindows ? [path, address] : [path])
      utimes(file, now, now).catch(() => {});
  }, renewal).unref();
  const drop = (): void => rmSync(path, { force: true });
  process.once('exit', drop);
  return {
    release: async () => {
      clearInterval(renew);
      process.off('exit', drop);
      if ((await readOwner(path))?.token === own.token) await rm(path, { force: true });
      server.close();
    },
  };
}

/** Who holds a folder, as far as can be told without waiting; undefined where nobody does. */
export async function ownerOf(folder: string): Promise<Owner | undefined> {
  const path = lockPath(folder);
  const owner = await readOwner(path);
  if (!owner) return undefined;
  if (owner.place === (await placeOf())) return (await answers(addressOf(owner.token))) ? owner : undefined;
  const renewed = (await timeOf(path)) ?? 0;
  return Date.now() - renewed < longSilence ? owner : undefined;
}

/**
 * Writes `path` as one's own; undefined once that is done, else its living owner. The file of one that ended is replaced by
 * whoever has the right to: a lock of its own, beside the file, named by the ended one's token. As no token comes twice, who
 * has the right and still finds that token in the file is the only one that may replace it; renaming the right to the lock
 * does so and gives the right up in one act. A right whose owner was killed is taken over like any other lock.
 */
async function claim(path: string, own: Owner, silence: number): Promise<Owner | undefined> {
  while (true) {
    const isOwn = await writeFile(path, JSON.stringify(own), { flag: 'wx' }).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'EEXIST') return false;
        throw error;
      },
    );
    if (isOwn) return undefined;
    const owner = await readOwner(path);
    if (!owner) continue; // it has just been let go
    if (await isAlive(owner, path, silence)) return owner;
    const right = `${path}.${owner.token}`;
    const rival = await claim(right, own, silence);
    if (rival) return rival;
    if ((await readOwner(path))?.token === owner.token) {
      await rename(right, path);
      return undefined;
    }
    await rm(right, { force: true });
  }
}

/** What a lock's file says; undefined where there is none. One that is not whole after a while belongs to nobody. */
async function readOwner(path: string): Promise<Owner | undefined> {
  for (let waited = 0; ; waited += 50) {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (text === undefined) return undefined;
    const owner = parse(text);
    if (owner) return owner;
    if (waited >= writingTime) return { pid: 0, host: hostname(), place: await placeOf(), token: 'broken' };
    await wait(50);
  }
}

function parse(text: string): Owner | undefined {
  try {
    const { pid, host, place, token } = JSON.parse(text) as Owner;
    const isWhole = typeof pid === 'number' && typeof host === 'string' && typeof place === 'string';
    return isWhole && /^[0-9a-f]{24}$/.test(token) ? { pid, host, place, token } : undefined;
  } catch {
    return undefined;
  }
}

async function isAlive(owner: Owner, path: string, silence: number): Promise<boolean> {
  if (owner.place === (await placeOf())) return answers(addressOf(owner.token));
  const before = await timeOf(path);
  for (let waited = 0; waited < silence; waited += silence / 30) {
    await wait(silence / 30);
    const now = await timeOf(path); // compared with itself: clocks of machines differ
    if (now !== before) return now !== undefined && (await readOwner(path))?.token === owner.token;
  }
  return false;
}

const timeOf = (path: string): Promise<number | undefined> =>
  stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );

/** Where a process listens that has this token. */
export function addressOf(token: string, platform: NodeJS.Platform = process.platform): string {
  if (platform === 'win32') return `\\\\.\\pipe\\winnow-${token}`;
  return platform === 'linux' ? `\0winnow-${token}` : join(tmpdir(), `winnow-${token}`);
}

/** Where the socket of this process can be reached from. */
async function placeOf(): Promise<string> {
  if (process.platform !== 'linux') return hostname();
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    return `${boot.trim()} ${await readlink('/proc/self/ns/net')}`;
  } catch {
    return hostname(); // a Linux without /proc
  }
}

/** Takes connections at an address, and closes them; does not keep the process from ending. */
export function listen(address: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(address, () => {
      server.unref();
      resolve(server);
    });
  });
}

/** Whether a process listens there. */
export function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // Whatever else refuses (a full queue, another user's socket) is not an end.
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'ENOENT' && code !== 'ECONNREFUSED'));
  });
}
