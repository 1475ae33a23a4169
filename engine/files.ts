/** Files: written whole or not at all, and errors that say what the system refused. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FileError } from './errors.js';

/** Whether there is a file or a folder. */
export const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** What the system means by the codes of its errors, for a file that is read or written. */
const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  ENOTDIR: 'a part of its path is a file',
  EISDIR: 'a folder, expected a file',
  EEXIST: 'a file, expected a folder',
  ENOTEMPTY: 'a folder that is not empty',
  EACCES: 'no permission',
  EPERM: 'no permission',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space left on the disk',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file is too large',
  ERR_FS_FILE_TOO_LARGE: 'the file is too large',
  ENAMETOOLONG: 'a name or the path is too long',
  ELOOP: 'too many links: they lead in a circle',
  EMFILE: 'this process has too many files open',
  ENFILE: 'the machine has too many files open',
  EIO: 'the disk could not be read or written',
  EBUSY: 'in use by another program',
  EINVAL: 'the system does not take this name',
  ERR_INVALID_ARG_VALUE: 'no name of a file: it holds a zero byte',
};

/** Codes that their words say in full. */
const plain = ['ENOENT', 'EISDIR'];

/** Why the system refused, in words and with its own code; undefined for an error that is not the system's. */
export function reasonOf(error: unknown): string | undefined {
  const { code, message } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  if (typeof code !== 'string') return undefined;
  if (!(code in reasons) && !/^E[A-Z0-9]+$/.test(code)) return undefined;
  const words = reasons[code] ?? message;
  return plain.includes(code) ? words : `${words} (${code})`;
}

/** A FileError with the path and the system's reason, where it is the system that refused; else the error itself. */
export function refused(path: string, error: unknown): unknown {
  const reason = reasonOf(error);
  return reason === undefined ? error : new FileError(`can't write ${path}: ${reason}`, { cause: error });
}

/** Runs what writes `path`; throws a FileError where the system refuses. */
export async function writing<R>(path: string, body: () => Promise<R>): Promise<R> {
  try {
    return await body();
  } catch (error) {
    throw refused(path, error);
  }
}

/** Runs what reads `path`; throws a FileError with the system's reason, and with what was expected there, where it refuses. */
export async function reading<R>(path: string, expected: string, body: () => Promise<R>): Promise<R> {
  try {
    return await body();
  } catch (error) {
    const reason = reasonOf(error);
    throw reason === undefined ? error : new FileError(`${path}: ${reason}; expected ${expected}`, { cause: error });
  }
}

/**
 * Makes a folder and those above it; one that is there already stays as it is. Node's own recursive mkdir() reports what
 * it does not know, such as a read-only file system, as a missing folder; this throws what the system said.
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (await isFolder(path)) return;
    const above = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || above === path) throw error;
    await makeFolder(above);
    await mkdir(path).catch(async (again: unknown) => {
      if (!(await isFolder(path))) throw again; // else another process was faster
    });
  }
}

/** Whether the path is a folder's, links followed. */
export const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/**
 * Has `write` fill a file beside `path`, which then takes its name: a reader finds the old file or the new one, never half of
 * it. With `durable` the new one is on disk when this returns. Where `write` throws, nothing is left. Default durable.
 */
export async function replaceFile(
  path: string,
  write: (file: FileHandle) => Promise<void>,
  { durable = true }: { readonly durable?: boolean } = {},
): Promise<void> {
  const aside = `${path}.${process.pid}.part`;
  try {
    const file = await open(aside, 'w');
    try {
      await write(file);
      if (durable) await file.sync();
    } finally {
      await file.close();
    }
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true }).catch(() => {});
    throw error;
  }
  if (durable) await syncFolder(dirname(path));
}

/** Writes a file whole, and the folders above it. Throws a FileError where the system refuses. */
export async function writeWhole(path: string, data: string | Uint8Array): Promise<void> {
  await writing(path, async () => {
    await makeFolder(dirname(path));
    await replaceFile(path, (file) => file.writeFile(data), { durable: false });
  });
}

/** SHA-256 of bytes or of a text's UTF-8, in hexadecimal digits. */
export const sha256Of = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** SHA-256 of a file's bytes, in hexadecimal digits, read in pieces. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(piece as Uint8Array);
  return hash.digest('hex');
}

/** Makes the names in a folder durable; platforms that can't open a folder do so by themselves. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path).catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}
