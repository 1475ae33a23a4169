/** A taste as a reward, and what one trains on by it. */
import { join, resolve } from 'node:path';
import type { Device } from '../../../engine/index.js';
import { ModelFileError } from '../../../models/files/errors.js';
import type { RewardConfig } from '../../config.js';
import type { Reward } from '../../rewards/reward.js';
import { UsageError } from '../errors.js';
import { agreementText, doubtOf, growthText } from './agreement.js';
import { clipFolder, embeddedClip } from './features.js';
import { loadTaste, readTaste, tasteName, weightsHash } from './folder.js';

/**
 * The utility of a picture by the taste in a folder, in logits of being preferred. Its prompt is not looked at. A taste that was
 * fitted again meanwhile, and is read by renew(), scores in the units of the first: by the ratio of their deviations over the
 * base model's pictures, so that its weight in a sum stays what it was.
 */
export async function tasteReward(device: Device, name: string, folder: string): Promise<Reward> {
  const warnings: string[] = [];
  const load = () => loadTaste(device, folder, { warn: (message) => void warnings.push(message) });
  let taste = await load();
  const { taste: unit } = taste.base;
  let factor = 1;
  return {
    name,
    score: async (images, { warn } = {}) => {
      for (const message of warnings.splice(0)) warn?.(message);
      const scores = await taste.score(images);
      return factor === 1 ? scores : scores.map((score) => factor * score);
    },
    version: () => weightsHash(taste.groups),
    renew: async () => {
      const next = await load();
      taste.dispose();
      taste = next;
      const { taste: now } = next.base;
      factor = unit > 0 && now > 0 ? unit / now : 1;
    },
    dispose: () => taste.dispose(),
  };
}

/** What a configuration takes over to train by a taste, and what is to be said of it. */
export interface TasteTraining {
  readonly reward: Readonly<Record<string, Partial<RewardConfig>>>;
  /** The same as changes of keys, as `--set` takes them: rewards and their weighted sum. */
  readonly set: readonly string[];
  /** `71 % of 60 held-out votes ...`, how that grew, and `you like: darker`. */
  readonly messages: readonly string[];
}

export interface TasteTrainingOptions {
  /** The model that is to be trained. Default: that of the votes. */
  readonly model?: string;
  /** Train although the votes do not agree with one another, or are on another model. */
  readonly force?: boolean;
}

/**
 * What one trains on to please a taste: its reward and the score of its CLIP, so that pictures still show their prompt, each
 * divided by its deviation over the base model's pictures. Throws a UsageError for a taste whose votes do not agree with one
 * another or are on another model, unless `force`; a ModelFileError for files that can't be used.
 */
export async function tasteTraining(
  folder: string,
  { model, force = false }: TasteTrainingOptions = {},
): Promise<TasteTraining> {
  const taste = await readTaste(folder, { warn: () => {} }); // told of by the reward
  const { agreement, base, clip, words } = taste;
  const doubt = doubtOf(agreement) ?? doubtOfModel(taste.model, model);
  if (doubt !== undefined && !force) throw new UsageError(`${folder}: ${doubt}; --force trains all the same`);
  for (const name of ['taste', 'clip'] as const) {
    if (base[name] > 0) continue;
    const what = `base.${name} is ${base[name]}: it tells no picture from another, so that nothing can be learned of it`;
    throw new ModelFileError(join(folder, tasteName), [what]);
  }
  const score = { weight: 1 / base.clip };
  const reward = {
    taste: { path: folder, weight: 1 / base.taste },
    ...(clip.folder === embeddedClip
      ? { [embeddedClip]: score }
      : { clip: { path: clipFolder(clip.folder), ...score } }),
  };
  const growth = growthText(agreement);
  return {
    reward,
    set: [`reward=${JSON.stringify(reward)}`, 'grpo.combine=sum'],
    messages: [
      `taste    ${agreementText(agreement)}`,
      ...(growth === '' ? [] : [`         ${growth}`]),
      ...(words.length === 0 ? [] : [`         you like: ${words.join(', ')}`]),
    ],
  };
}

/** Deviations are those of the model that was voted on: of another they say nothing. Paths may be written in several ways. */
function doubtOfModel(voted: string | undefined, trained: string | undefined): string | undefined {
  if (voted === undefined || trained === undefined || resolve(voted) === resolve(trained)) return undefined;
  return `its votes are on pictures of ${voted}, and ${trained} is to be trained: expected the same model`;
}
