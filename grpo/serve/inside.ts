/** Files of a run's folder, and of no other: a name that a link leads elsewhere is as good as absent. */
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Opens a regular file of the folder to read it; undefined where there is none, where it is no regular file, or where it or a
 * folder on the way is a link that leads out. The folder itself may be reached by a link.
 */
export async function openInside(folder: string, ...names: readonly string[]): Promise<FileHandle | undefined> {
  if (names.some((name) => name === '' || name === '.' || name === '..' || /[/\\\0]/.test(name))) return undefined;
  let file: FileHandle | undefined;
  try {
    const wanted = join(await realpath(folder), ...names);
    if ((await realpath(wanted)) !== wanted) return undefined;
    // Not following a link again: the name may have become one since. Not waiting: it may be a pipe.
    file = await open(wanted, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if ((await file.stat()).isFile()) return file;
  } catch {
    // absent, no permission, or gone meanwhile: all the same to a reader
  }
  await file?.close();
  return undefined;
}

/** The text of a file of the folder; undefined where there is none or it has more than `limit` bytes. */
export async function readInside(folder: string, name: string, limit = 4 << 20): Promise<string | undefined> {
  const file = await openInside(folder, name);
  try {
    if (!file || (await file.stat()).size > limit) return undefined;
    return await file.readFile('utf8');
  } catch {
    return undefined;
  } finally {
    await file?.close();
  }
}

/** The names in a folder of the run; none where there is no such folder, or it is a link that leads out. */
export async function namesInside(folder: string, name: string): Promise<string[]> {
  try {
    const wanted = join(await realpath(folder), name);
    return (await realpath(wanted)) === wanted ? await readdir(wanted) : [];
  } catch {
    return [];
  }
}

const longestLine = 2000;

/** The last lines of a text file of any size, of which only its last 64 kB are read; overlong lines are cut. */
export async function tailInside(folder: string, name: string, lines = 200): Promise<string[]> {
  const file = await openInside(folder, name);
  if (!file) return [];
  try {
    const { size } = await file.stat();
    const length = Math.min(size, 64 << 10);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    const all = buffer.toString('utf8', 0, bytesRead).split('\n');
    if (length < size) all.shift(); // its beginning was not read
    if (all.at(-1) === '') all.pop();
    return all.slice(-lines).map((line) => (line.length > longestLine ? `${line.slice(0, longestLine)}…` : line));
  } catch {
    return [];
  } finally {
    await file.close();
  }
}
