/** Files: written whole or not at all, and errors that say what the system refused. */
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FileError } from './errors.js';

/** Whether there is a file or a folder. */
export const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

const reasons: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the disk',
  EDQUOT: 'the disk quota is used up',
  EACCES: 'no permission',
  EPERM: 'no permission',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'a part of its path is a file',
  EFBIG: 'the file is too large',
};

/** A FileError with the path and the system's reason, where it is the system that refused; else the error itself. */
export function refused(path: string, error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (typeof code !== 'string' || !/^E[A-Z0-9]+$/.test(code)) return error;
  return new FileError(`can't write ${path}: ${reasons[code] ?? message} (${code})`, { cause: error });
}

/** Runs what writes `path`; throws a FileError where the system refuses. */
export async function writing<R>(path: string, body: () => Promise<R>): Promise<R> {
  try {
    return await body();
  } catch (error) {
    throw refused(path, error);
  }
}

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
    await mkdir(dirname(path), { recursive: true });
    await replaceFile(path, (file) => file.writeFile(data), { durable: false });
  });
}

/** Makes the names in a folder durable; platforms that can't open a folder do so by themselves. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path).catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}
