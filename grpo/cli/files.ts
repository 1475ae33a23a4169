/** Writing files: whole or not at all, and errors that say what the system refused. */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FileError } from './exit_codes.js';

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

/** Writes a file under another name and renames it: a reader finds the old one or the new one, never half of it. */
export async function writeWhole(path: string, data: string | Uint8Array): Promise<void> {
  const aside = `${path}.${process.pid}.part`;
  await writing(path, async () => {
    await mkdir(dirname(path), { recursive: true });
    try {
      await writeFile(aside, data);
      await rename(aside, path);
    } catch (error) {
      await rm(aside, { force: true }).catch(() => {});
      throw error;
    }
  });
}
