/** A person's taste: fitted to the votes of a folder, and a score of pictures. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Device } from '../../../engine/index.js';
import { type Disposable, owning } from '../../../engine/owning.js';
import { embeddedModels } from '../../../models/embedded/index.js';
import { ModelFileError, type Warn } from '../../../models/files/errors.js';
import { readable } from '../../../models/files/weight_files.js';
import { decodePng, type Picture } from '../../../models/pictures/png.js';
import { momentsOf } from '../../learning/advantage.js';
import { clipScore } from '../rewards/clip_score.js';
import { type AgreementReport, agreementReport } from './agreement.js';
import { clipFolder, clipHash, type FeatureReader, type Features, openFeatures } from './features.js';
import { type ComparedPair, chooseStrengths, designOf, type GroupHead, type Head, headOf, utilityOf } from './fit.js';
import { pictureHash, readVotes, type Vote, type VotedPicture, type Votes, votesName } from './votes.js';
import { likings } from './words.js';

/** What is known of a taste. */
export interface TasteFacts {
  readonly groups: readonly GroupHead[];
  /** The CLIP whose layers it sees: its folder, or an embedded model's name; and its clipHash(). */
  readonly clip: { readonly folder: string; readonly sha256: string };
  /** What drew the pictures, as the votes name it; undefined where there are no votes. */
  readonly model?: string | undefined;
  readonly agreement: AgreementReport;
  /** What it likes, the strongest first: `darker`. */
  readonly words: readonly string[];
  /** Deviations of the taste and of the CLIP score over the voted pictures of the model before it was trained. */
  readonly base: { readonly taste: number; readonly clip: number; readonly pictures: number };
  /** The file of votes as it was read, and how many of them count. */
  readonly votes: Omit<Votes, 'votes'> & { readonly count: number };
}

/** A taste that scores pictures. Frees the CLIP with dispose(). */
export interface Taste extends TasteFacts {
  /** The utility of each picture, in logits of being preferred. Only differences have a meaning. */
  score(images: readonly Picture[]): Promise<number[]>;
  /** What it is sure of: there where it has just been fitted, not where it was loaded. For nextPair(). */
  readonly head?: Head;
  dispose(): void;
}

export interface FitOptions {
  /** The folder of a CLIP in transformers' layout, or an embedded one. */
  readonly clip: string;
  /** An open reader of this CLIP's features, which stays open. Default: one of its own. */
  readonly reader?: FeatureReader;
  /** Features by pictureHash(), which are looked up before they are computed, and added to. */
  readonly known?: Map<string, Features>;
  readonly warn?: Warn;
}

const targets = { left: 1, right: 0, equal: 0.5 } as const;

/**
 * Fits a taste to the votes of a folder, whose pictures are beside them; `skip` says nothing. The same votes and features give the
 * same bits. Throws a ModelFileError for votes on more than one model, and for votes, pictures or a CLIP that can't be used.
 */
export function fitTaste(
  device: Device,
  folder: string,
  { clip, reader: given, known = new Map(), warn }: FitOptions,
): Promise<Taste> {
  return owning(async (own: <T extends Disposable>(thing: T) => T) => {
    const read = await readVotes(folder, warn && { warn });
    const model = modelOf(folder, read.votes);
    const votes = read.votes.filter(({ choice }) => choice !== 'skip');
    const sha256 = await clipHash(clip);
    const reader = given ?? own(await openFeatures(device, clip));
    const shown = new Map(votes.flatMap(({ pictures }) => pictures.map((picture) => [picture.sha256, picture])));
    const pictures = new Map<string, Picture>();
    for (const picture of shown.values()) pictures.set(picture.sha256, await readPicture(folder, picture));
    const missing = [...pictures].filter(([hash]) => !known.has(hash));
    const found = await reader.read(missing.map(([, picture]) => picture));
    for (const [i, [hash]] of missing.entries()) known.set(hash, found[i]!);
    const design = designOf(votes.map((vote) => pairOf(vote, known)));
    const all = votes.map((_, i) => i);
    const head = headOf(design, chooseStrengths(design, all));
    const utility = (hash: string): number => utilityOf(head.groups, known.get(hash)!);
    const hashes = [...shown.keys()];
    const plain = hashes.map((hash) => known.get(hash)!.plain!);
    const facts: TasteFacts = {
      groups: head.groups,
      clip: { folder: embeddedModels.some((name) => name === clip) ? clip : resolve(clip), sha256 },
      ...(model !== undefined && { model }),
      agreement: await agreementReport(design),
      words: likings(hashes.map(utility), plain),
      base: await baseOf(device, clip, votes, { utility, pictures }),
      votes: { count: votes.length, lines: read.lines, bytes: read.bytes, sha256: read.sha256 },
    };
    return { ...tasteOf(facts, reader, given ? () => {} : () => reader.dispose()), head };
  });
}

/** A taste by what is known of it; `free` is called when it is disposed of. */
export const tasteOf = (facts: TasteFacts, reader: FeatureReader, free: () => void): Taste => ({
  ...facts,
  score: async (images) => (await reader.read(images)).map((features) => utilityOf(facts.groups, features)),
  dispose: free,
});

/** The model whose pictures were voted on; of two, one's deviations and looks would be taken for the other's. */
function modelOf(folder: string, votes: readonly Vote[]): string | undefined {
  const model = votes[0]?.model;
  const other = votes.find((vote) => vote.model !== model);
  if (!other) return model;
  const what = `vote ${other.id} is on pictures of ${other.model}, expected ${model} as before it: each model has a folder of its own`;
  throw new ModelFileError(join(folder, votesName), [what]);
}

function pairOf({ pictures: [left, right], choice }: Vote, known: ReadonlyMap<string, Features>): ComparedPair {
  return {
    left: known.get(left.sha256)!,
    right: known.get(right.sha256)!,
    target: targets[choice as keyof typeof targets], // without skip, as fitTaste() has filtered
    pair: [left.sha256, right.sha256].sort().join(),
  };
}

async function readPicture(folder: string, { sha256, file }: VotedPicture): Promise<Picture> {
  const path = join(folder, file);
  const { picture } = await readable(path, async () => {
    const bytes = await readFile(path);
    try {
      return decodePng(bytes);
    } catch (error) {
      throw new ModelFileError(path, [`no picture of ours: ${(error as Error).message}`], { cause: error });
    }
  });
  const found = pictureHash(picture);
  if (found !== sha256) throw new ModelFileError(path, [`its pixels have the hash ${found}, expected ${sha256}`]);
  return picture;
}

/** Deviations over the pictures of the untrained model; over all where there are none, as votes in a run's loop may be. */
async function baseOf(
  device: Device,
  clip: string,
  votes: readonly Vote[],
  { utility, pictures }: { utility: (hash: string) => number; pictures: ReadonlyMap<string, Picture> },
): Promise<TasteFacts['base']> {
  const untrained = votes.filter(({ update = 0 }) => update === 0);
  const prompts = new Map(
    (untrained.length > 0 ? untrained : votes).flatMap(({ prompt, pictures: two }) =>
      two.map(({ sha256 }) => [sha256, prompt] as const),
    ),
  );
  const images = [...prompts].map(([hash, prompt]) => ({ ...pictures.get(hash)!, prompt, meta: {} }));
  if (images.length === 0) return { taste: 0, clip: 0, pictures: 0 };
  const score = await clipScore(device, 'clip', clipFolder(clip));
  try {
    const cosines = await score.score(images);
    const deviation = (values: readonly number[]): number => momentsOf(values).std;
    return {
      taste: deviation([...prompts.keys()].map(utility)),
      clip: deviation(cosines),
      pictures: images.length,
    };
  } finally {
    score.dispose?.();
  }
}
