/** Real files of others, beside the repository or where WINNOW_REAL says: tests that read them are skipped where they are not. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = process.env.WINNOW_REAL ?? fileURLToPath(new URL('../../shared/real', import.meta.url));

/** The path of a real file. */
export const realFile = (name: string): string => join(folder, name);

/** Why tests that need a real file are skipped; undefined where it is there. */
export const lacking = (name: string): string | undefined =>
  existsSync(realFile(name)) ? undefined : `${name} is not in ${folder}`;
