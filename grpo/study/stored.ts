/** Measurements beside the runs: made once, and known by what they depend on. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256Of } from '../../engine/files.js';

/** What a result depends on, as 8 hexadecimal digits. */
export const identityOfText = (content: string): string => sha256Of(content).slice(0, 8);

/** A measurement's file below `out`, and what it has of it: undefined where it was not made by this declaration before. */
export async function readStored<T>(
  out: string,
  name: string,
  content: string,
): Promise<{ readonly path: string; readonly stored: T | undefined }> {
  const path = join(out, `${name}_${identityOfText(content)}.json`);
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return { path, stored: text === undefined ? undefined : (JSON.parse(text) as T) }; // written whole by the study itself
}
