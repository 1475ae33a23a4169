/** The rewards of a run, by the names in its configuration: built in, a user's module, or a server. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Device } from '../../../engine/index.js';
import { owning } from '../../../engine/owning.js';
import { type EmbeddedModel, embeddedFolder } from '../../../models/embedded/index.js';
import { ModelFileError } from '../../../models/files/errors.js';
import { encodePng } from '../../../models/pictures/png.js';
import type { RewardConfig, RunConfig } from '../../config.js';
import { brightness } from '../../rewards/brightness.js';
import { color } from '../../rewards/color.js';
import { compressibility, jpegCompressibility } from '../../rewards/compressibility.js';
import { withoutCredentials } from '../../rewards/credentials.js';
import { httpReward } from '../../rewards/http.js';
import { moduleReward, type RewardFunction } from '../../rewards/module.js';
import { CombinedReward, type Reward, type Warn, type WeightedReward } from '../../rewards/reward.js';
import { suggestion } from '../config/suggestion.js';
import { UsageError } from '../errors.js';
import { tasteReward } from '../taste/reward.js';
import { aesthetic } from './aesthetic.js';
import { clipScore, pickScore } from './clip_score.js';
import { hpsv2 } from './hpsv2.js';
import { sceneChecker } from './scene_checker.js';
import { serverOf } from './server.js';

type Loader = (device: Device, name: string, path: string | undefined) => Promise<Reward>;

const plain =
  (make: (name: string) => Reward): Loader =>
  async (_, name, path) => {
    if (path !== undefined) throw new UsageError(`reward.${name}.path: this reward reads no files`);
    return make(name);
  };

const ofFolder =
  (load: (device: Device, name: string, path: string) => Promise<Reward>, what: string): Loader =>
  async (device, name, path) => {
    if (path === undefined) throw new UsageError(`reward.${name}.path is missing: expected ${what}`);
    return load(device, name, path);
  };

/** A reward of a published kind whose folder ships. */
const ofEmbedded =
  (load: (device: Device, name: string, path: string) => Promise<Reward>, model: EmbeddedModel): Loader =>
  (device, name, path = embeddedFolder(model)) =>
    load(device, name, path);

const builtIn: Readonly<Record<string, Loader>> = {
  'scene-checker': plain((name) => sceneChecker(name)),
  'scene-checker-color': plain((name) => sceneChecker(name, ['color'])),
  'scene-checker-shape': plain((name) => sceneChecker(name, ['shape'])),
  'scene-checker-ground': plain((name) => sceneChecker(name, ['ground'])),
  'scenes-pick': ofEmbedded(pickScore, 'scenes-pick'),
  'scenes-hps': ofEmbedded(hpsv2, 'scenes-hps'),
  'scenes-aesthetic': ofEmbedded(aesthetic, 'scenes-aesthetic'),
  'scenes-clip': ofEmbedded(clipScore, 'scenes-clip'),
  brightness: plain(brightness),
  color: plain(color),
  'jpeg-compressibility': plain(jpegCompressibility),
  'png-compressibility': plain((name) => compressibility(name, encodePng)),
  clip: ofFolder(clipScore, 'the folder of a CLIP, such as openai/clip-vit-large-patch14'),
  pickscore: ofFolder(pickScore, 'the folder of PickScore_v1, with a tokenizer'),
  hpsv2: ofFolder(hpsv2, 'the folder of HPS_v2.1_compressed.pt, with the tokenizer of a CLIP'),
  aesthetic: ofFolder(aesthetic, 'the folder of CLIP ViT-L/14 with sac+logos+ava1-l14-linearMSE.pth'),
  taste: ofFolder(tasteReward, 'a folder with taste.json, as winnow rate makes it'),
};

/** Names of the rewards that are built in. */
export const rewardNames: readonly string[] = Object.keys(builtIn);

/**
 * Loads one reward; paths are from the working directory. Throws a UsageError for a name that is not known or lacks a
 * path, or a variable that the environment lacks, a ModelFileError for files that can't be used.
 */
export async function loadReward(device: Device, name: string, config: Partial<RewardConfig> = {}): Promise<Reward> {
  const { module, http, timeout_s: timeout, path } = config;
  if (module !== undefined && http !== undefined)
    throw new UsageError(`reward.${name}: has a module and an http address, expected one of them`);
  const wait = timeout === undefined ? {} : { timeout };
  if (module !== undefined) return moduleReward(name, await importReward(module), { source: module, ...wait });
  if (http !== undefined) {
    if (!/^https?:\/\//.test(http) || !URL.canParse(http))
      throw new UsageError(
        `reward.${name}.http is "${withoutCredentials(http)}", expected an address such as http://127.0.0.1:8900/score`,
      );
    return httpReward(name, serverOf(name, config));
  }
  const load = Object.hasOwn(builtIn, name) ? builtIn[name] : undefined;
  if (load) return load(device, name, path);
  const lines = [
    `reward.${name}: no reward is called so${suggestion(name, rewardNames)}`,
    `  Built in: ${rewardNames.join(', ')}.`,
    '  A reward of your own has a module or an http address.',
  ];
  throw new UsageError(lines.join('\n'));
}

/** Throws a UsageError where a server's keys name a variable that the environment lacks, which shows before a model is loaded. */
export function checkServers({ reward }: Pick<RunConfig, 'reward'>): void {
  for (const [name, keys] of Object.entries(reward)) if (keys.http !== undefined) serverOf(name, keys);
}

/** The rewards of a configuration with their weights; when one can't be loaded, those before it are freed. */
export const loadRewards = (device: Device, { reward }: Pick<RunConfig, 'reward'>): Promise<WeightedReward[]> =>
  owning(async (own) => {
    const loaded: WeightedReward[] = [];
    for (const [name, config] of Object.entries(reward)) {
      const made = await loadReward(device, name, config);
      own({ dispose: () => made.dispose?.() });
      loaded.push({ reward: made, weight: config.weight });
    }
    return loaded;
  });

/** What a run scores by. */
export interface JoinedRewards {
  /** What is trained on. */
  readonly rewards: CombinedReward;
  /** What evaluations score: that, and the rewards that are only reported. */
  readonly reported: CombinedReward;
  /** The latter alone, which were loaded for it. */
  readonly loaded: readonly Reward[];
}

/** Joins the rewards that are trained on, and loads those that are only reported; when one can't be, those before it are freed. */
export const joinRewards = (
  device: Device,
  { grpo, eval: { rewards: names } }: Pick<RunConfig, 'grpo' | 'eval'>,
  rewards: readonly WeightedReward[],
  warn: Warn,
): Promise<JoinedRewards> =>
  owning(async (own) => {
    const trained = rewards.map(({ reward }) => reward.name);
    const loaded: Reward[] = [];
    for (const name of new Set(names)) {
      if (trained.includes(name)) continue;
      const made = await loadReward(device, name);
      own({ dispose: () => made.dispose?.() });
      loaded.push(made);
    }
    const { combine, advantage_eps: eps } = grpo;
    const all = [...rewards, ...loaded.map((reward) => ({ reward, weight: 0 }))];
    return {
      rewards: new CombinedReward(rewards, { combine, eps, warn }),
      reported: new CombinedReward(all, { warn }),
      loaded,
    };
  });

/** The default export of a user's module. */
async function importReward(path: string): Promise<RewardFunction> {
  let found: { readonly default?: unknown };
  try {
    found = await import(pathToFileURL(resolve(path)).href);
  } catch (error) {
    throw new ModelFileError(path, [`can't be imported: ${(error as Error).message}`], { cause: error });
  }
  if (typeof found.default !== 'function') {
    const what = found.default === undefined ? 'no default export' : `a default export of type ${typeof found.default}`;
    throw new ModelFileError(path, [`${what}, expected a function (images) => scores`]);
  }
  return found.default as RewardFunction; // what it returns is checked at each call
}
