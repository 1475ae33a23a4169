/** A taste as a reward, and what one trains on by it. */
import { join } from 'node:path';
import type { Device } from '../../../engine/index.js';
import { embeddedModels } from '../../../models/embedded/index.js';
import { ModelFileError } from '../../../models/files/errors.js';
import type { RewardConfig } from '../../config.js';
import type { Reward } from '../../rewards/reward.js';
import { UsageError } from '../errors.js';
import { agreementText, doubtOf } from './agreement.js';
import { loadTaste, readTaste, tasteName } from './folder.js';

/** The utility of a picture by the taste in a folder, in logits of being preferred. Its prompt is not looked at. */
export async function tasteReward(device: Device, name: string, folder: string): Promise<Reward> {
  const warnings: string[] = [];
  const taste = await loadTaste(device, folder, { warn: (message) => void warnings.push(message) });
  return {
    name,
    score: async (images, { warn } = {}) => {
      for (const message of warnings.splice(0)) warn?.(message);
      return taste.score(images);
    },
    dispose: () => taste.dispose(),
  };
}

/** Rewards of a configuration, and what is to be said of them. */
export interface TasteTraining {
  readonly reward: Readonly<Record<string, Partial<RewardConfig>>>;
  /** `taste: 71 % of 60 held-out votes ...; you like: darker`. */
  readonly message: string;
}

/**
 * What one trains on to please a taste: its reward and the score of its CLIP, so that pictures still show their prompt, each
 * divided by its deviation over the base model's pictures. Throws a UsageError for a taste whose votes do not agree with one
 * another, unless `force`; a ModelFileError for files that can't be used.
 */
export async function tasteTraining(
  folder: string,
  { force = false }: { readonly force?: boolean } = {},
): Promise<TasteTraining> {
  const { agreement, base, clip, words } = await readTaste(folder, { warn: () => {} }); // told of by the reward
  const doubt = doubtOf(agreement);
  if (doubt !== undefined && !force) throw new UsageError(`${folder}: ${doubt}; --force trains all the same`);
  for (const name of ['taste', 'clip'] as const) {
    if (base[name] > 0) continue;
    const what = `base.${name} is ${base[name]}: it tells no picture from another, so that nothing can be learned of it`;
    throw new ModelFileError(join(folder, tasteName), [what]);
  }
  const embedded = embeddedModels.some((name) => name === clip.folder);
  const score = { weight: 1 / base.clip };
  return {
    reward: {
      taste: { path: folder, weight: 1 / base.taste },
      ...(embedded ? { [clip.folder]: score } : { clip: { path: clip.folder, ...score } }),
    },
    message: `taste: ${agreementText(agreement)}${words.length > 0 ? `; you like: ${words.join(', ')}` : ''}`,
  };
}
