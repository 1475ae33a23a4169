/** A taste by the features of a CLIP, fitted again and again on one device. */
import type { Device } from '../../engine/index.js';
import type { Warn } from '../../models/files/errors.js';
import { doubtOf } from '../finetune/taste/agreement.js';
import { type FeatureReader, type Features, openFeatures } from '../finetune/taste/features.js';
import { writeTaste } from '../finetune/taste/folder.js';
import { nextPair } from '../finetune/taste/next_pair.js';
import { tasteTraining } from '../finetune/taste/reward.js';
import { fitTaste, type Taste } from '../finetune/taste/taste.js';
import { pictureHash } from '../finetune/taste/votes.js';
import type { TasteFitting } from './taste.js';

/** `clip` is the folder of a CLIP, or an embedded one. */
export function clipTaste(device: Device, clip: string, warn: Warn): TasteFitting {
  const known = new Map<string, Features>(); // of pictures that were voted on or are about to be
  let reader: FeatureReader | undefined;
  let last: Taste | undefined; // without its reader, which is disposed of by itself
  const open = async (): Promise<FeatureReader> => {
    reader ??= await openFeatures(device, clip);
    return reader;
  };
  return {
    fit: async (folder) => {
      last = await fitTaste(device, folder, { clip, reader: await open(), known, warn });
      const { agreement, words } = last;
      const doubt = doubtOf(agreement);
      const sentence = capital(doubt ?? 'your votes agree with one another');
      return { agreement, agrees: doubt === undefined, sentence, words };
    },
    write: async (folder) => {
      if (last) await writeTaste(folder, last);
    },
    nextPair: async (pictures, votes) => {
      const features = await (await open()).read(pictures);
      const candidates = pictures.map(({ prompt }, i) => ({ prompt, features: features[i]! }));
      const chosen = nextPair(last?.head, candidates, { votes });
      for (const place of chosen) known.set(pictureHash(pictures[place]!), features[place]!);
      return chosen;
    },
    rewards: async (folder, { force }) => (await tasteTraining(folder, { force })).set,
    rest: () => {
      reader?.dispose();
      reader = undefined;
    },
  };
}

const capital = (sentence: string): string => `${sentence[0]?.toUpperCase() ?? ''}${sentence.slice(1)}.`;
