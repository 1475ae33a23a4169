/** Pairs as votes with their pictures in a folder, and back. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWhole } from '../../engine/files.js';
import { decodePng } from '../../models/pictures/png.js';
import { appendVote, newVoteId, pictureFile, type Vote, type VotedPicture } from '../finetune/taste/votes.js';
import type { Pair, ShownPicture } from './pairs.js';

/** Writes a vote on a pair by the name `id`, and its pictures before it. */
export async function keepVote(
  folder: string,
  { prompt, pictures }: Pair,
  vote: Pick<Vote, 'id' | 'choice' | 'seconds' | 'model'> & { readonly update: number | undefined },
): Promise<Vote> {
  for (const { sha256, png } of pictures) await writeWhole(join(folder, pictureFile(sha256)), png);
  const voted = ({ sha256, seed }: ShownPicture): VotedPicture => ({ sha256, seed, file: pictureFile(sha256) });
  const { update, ...rest } = vote;
  const kept: Vote = {
    ...rest,
    prompt,
    pictures: [voted(pictures[0]), voted(pictures[1])],
    ...(update !== undefined && { update }),
  };
  await appendVote(folder, kept);
  return kept;
}

/** The pair of a vote that was taken back, with a new id, by its pictures' files; undefined where they are gone. */
export async function votedPair(folder: string, { prompt, pictures }: Vote): Promise<Pair | undefined> {
  const shown = async ({ sha256, seed, file }: VotedPicture): Promise<ShownPicture> => {
    const png = await readFile(join(folder, file));
    const { width, height } = decodePng(png).picture;
    return { sha256, seed, width, height, png };
  };
  try {
    return { id: newVoteId(), prompt, pictures: [await shown(pictures[0]), await shown(pictures[1])] };
  } catch {
    return undefined;
  }
}
