/** A folder's taste kept up with its votes, which are written as they come. */
import { join, resolve } from 'node:path';
import { exists } from '../../../engine/files.js';
import type { Device } from '../../../engine/index.js';
import { embeddedModels } from '../../../models/embedded/index.js';
import { processWarning, type Warn } from '../../../models/files/errors.js';
import { UsageError } from '../errors.js';
import { clipFolder, embeddedClip } from './features.js';
import { readTaste, tasteName, writeTaste } from './folder.js';
import { fitTaste } from './taste.js';
import { readVotes, votesName } from './votes.js';

export interface RefitOptions {
  /** The folder of a CLIP, or an embedded one. Default: that of the last fit, and for models that ship the one that ships. */
  readonly clip?: string | undefined;
  readonly warn?: Warn;
}

/**
 * Fits the taste of a folder and writes it there, where it has none, where votes came since, or where another CLIP is asked for.
 * `open` gives a device, which is closed again, and is called only for that. Returns whether it was fitted. Throws a UsageError
 * where there is nothing to fit to or no CLIP is known, and a ModelFileError as readTaste() and fitTaste() do.
 */
export async function refitTaste(
  folder: string,
  open: () => Promise<Device>,
  { clip: wanted, warn = processWarning }: RefitOptions = {},
): Promise<boolean> {
  const isFitted = await exists(join(folder, tasteName));
  const last = isFitted ? await readTaste(folder, { warn: () => {} }) : undefined;
  const votes = await readVotes(folder, { warn });
  const isSame = wanted === undefined || (last && resolve(clipFolder(wanted)) === clipFolder(last.clip.folder));
  if (votes.lines === 0) {
    if (last && isSame) return false; // a taste may be handed on without its votes
    throw new UsageError(`${join(folder, votesName)}: no votes; expected some, as winnow rate writes them`);
  }
  if (last && isSame && votes.bytes === last.votes.bytes) return false;
  const clip = wanted ?? last?.clip.folder ?? usualClip(votes.votes[0]?.model);
  const device = await open();
  try {
    const taste = await fitTaste(device, folder, { clip, warn });
    try {
      await writeTaste(folder, taste);
    } finally {
      taste.dispose();
    }
  } finally {
    device.close();
  }
  return true;
}

function usualClip(model: string | undefined): string {
  if (model === undefined || embeddedModels.some((name) => name === model)) return embeddedClip;
  throw new UsageError(
    `--clip FOLDER is missing: a taste in pictures of ${model} is fitted to what a CLIP sees of them`,
  );
}
