/** What a run works with: its configuration, model, prompts and rewards, all checked before anything is done. */
import { type Device, scope } from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import { pipelineKinds } from '../../models/pipeline/kinds.js';
import type { Pipeline } from '../../models/pipeline/pipeline.js';
import type { RunConfig } from '../config.js';
import type { Prompt } from '../model.js';
import type { CombinedReward, RewardImage, WeightedReward } from '../rewards/reward.js';
import { type DeviceChoice, openDevice } from './device.js';
import { preparing, UsageError } from './errors.js';
import { type LoadedModel, loadPolicy } from './policy.js';
import { readPromptFile, readPrompts } from './prompts.js';
import { checkServers, joinRewards, loadRewards } from './rewards/registry.js';
import { totalName } from './run/metrics.js';

export interface Session {
  readonly config: RunConfig;
  readonly device: Device;
  readonly model: LoadedModel;
  readonly prompts: {
    readonly train: readonly Prompt[];
    readonly test: readonly Prompt[];
    readonly samples: readonly Prompt[];
  };
  /** What is trained on. */
  readonly rewards: CombinedReward;
  /** What evaluations score: that, and the rewards that are only reported. */
  readonly reported: CombinedReward;
  /**
   * What a person should know: what its folder lacks or is not read of, how its scheduler is taken, and prompts that the model, or a
   * reward, does not read to their end. Grows while it is used.
   */
  readonly warnings: readonly string[];
  close(): void;
}

export interface SessionOptions {
  /** Ends the waiting for a reward that is tried out, by its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Prompts of a sample grid where no file names them. */
const gridPrompts = 8;

/** Factors of the rewards in the sum that is trained on. */
export const weightsOf = ({ reward }: Pick<RunConfig, 'reward'>): Record<string, number> =>
  Object.fromEntries(Object.entries(reward).map(([name, { weight }]) => [name, weight]));

/**
 * Reads the prompts, opens the device, loads model and rewards, and has each reward score a picture, so that a wrong file, a
 * server that is down or a prompt that a reward can't read is found before there is anything to lose.
 */
export async function openSession(
  config: RunConfig,
  { signal, ...choice }: DeviceChoice & SessionOptions = {},
): Promise<Session> {
  const prompts = await preparedPrompts(config);
  const device = await openDevice(choice);
  try {
    const session = await loadSession(device, config, prompts, { signal });
    return { ...session, close: () => device.close() };
  } catch (error) {
    device.close();
    throw error;
  }
}

/** The same on a device that is at hand and stays open: close() frees the model and the rewards. For one run after another. */
export async function sessionOn(device: Device, config: RunConfig, options: SessionOptions = {}): Promise<Session> {
  return loadSession(device, config, await preparedPrompts(config), options);
}

/** What can be checked and read before anything is loaded. */
async function preparedPrompts(config: RunConfig): Promise<Session['prompts']> {
  checkRewardNames(config);
  checkServers(config);
  return promptsOf(config, {
    train: await readPrompts(config.prompts.train, 'train'),
    test: await readPrompts(config.prompts.test, 'test'),
  });
}

const loadSession = (
  device: Device,
  config: RunConfig,
  prompts: Session['prompts'],
  options: SessionOptions,
): Promise<Session> =>
  owning(async (own) => {
    const model = own(await preparing(() => loadPolicy(device, config)));
    const rewards = await preparing(() => loadRewards(device, config));
    const disposeRewards = (): void => {
      for (const { reward } of rewards) reward.dispose?.();
    };
    own({ dispose: disposeRewards });
    const session = await joinSession({ config, device, model, prompts, rewards }, options);
    const close = (): void => {
      session.close();
      disposeRewards();
      model.dispose();
    };
    return { ...session, close };
  });

/** A session of what is at hand already. What close() frees is what was loaded here: rewards that are only reported. */
export async function joinSession(
  given: Pick<Session, 'config' | 'device' | 'model' | 'prompts'> & { readonly rewards: readonly WeightedReward[] },
  { signal }: SessionOptions = {},
): Promise<Session> {
  const { config, device, model, prompts, rewards } = given;
  checkRewardNames(config);
  const all = Object.values(prompts).flat();
  if (pipelineKinds[model.pipeline.kind].promptsAreClasses) await preparing(async () => checkClasses(model, all));
  const { negativePrompt: negative } = model;
  const read = negative === undefined ? all : [...all, { prompt: negative, meta: {} }];
  const warnings = [...model.warnings, ...modelWarnings(model.pipeline, read)];
  const warn = (message: string): void => void warnings.push(message);
  const { loaded, ...joined } = await preparing(() => joinRewards(device, config, rewards, warn));
  const close = (): void => {
    for (const reward of loaded) reward.dispose?.();
  };
  try {
    const pictures = greyPictures(model, [prompts.train[0]!, prompts.test[0]!]);
    await joined.reported.score(pictures, [pictures.length], { signal });
    return { ...given, ...joined, warnings, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Prompts to train on and held-out ones, with those of sample grids: of a file, or the first held-out ones. */
export async function promptsOf(
  { sample: { prompts: file } }: Pick<RunConfig, 'sample'>,
  { train, test }: Pick<Session['prompts'], 'train' | 'test'>,
): Promise<Session['prompts']> {
  return { train, test, samples: file === undefined ? test.slice(0, gridPrompts) : await readPromptFile(file) };
}

function checkRewardNames({ reward, eval: { rewards } }: RunConfig): void {
  if (totalName in reward || rewards.includes(totalName))
    throw new UsageError(`reward.${totalName}: this name is taken by the weighted sum of the rewards`);
}

function checkClasses(model: LoadedModel, prompts: readonly Prompt[]): void {
  scope(model.device, () => {
    model.encode(prompts.map(({ prompt }) => prompt));
  });
}

/** What a person should know of a model before it draws these prompts: how its scheduler is taken, and ends that it does not read. */
export const modelWarnings = (pipeline: Pick<Pipeline, 'cut' | 'scheduler'>, prompts: readonly Prompt[]): string[] => [
  ...pipeline.scheduler.warnings,
  ...cutPrompts(pipeline, prompts),
];

const cutsShown = 3;

/** Sentences on prompts that are longer than what a model reads of them, each once. */
export function cutPrompts({ cut }: Pick<Pipeline, 'cut'>, prompts: readonly Prompt[]): string[] {
  const long = [...new Set(prompts.map(({ prompt }) => prompt))].filter((prompt) => cut(prompt) !== '');
  const shown = long
    .slice(0, cutsShown)
    .map((prompt) => `the model does not read the end of the prompt "${prompt.slice(0, 40)}...": «${cut(prompt)}»`);
  const others = long.length - cutsShown;
  return others > 0 ? [...shown, `and of ${others} other prompts, which are too long as well`] : shown;
}

function greyPictures({ pictureSize: [height, width] }: LoadedModel, prompts: readonly Prompt[]): RewardImage[] {
  const rgb = new Uint8Array(3 * height * width).fill(128);
  return prompts.map((prompt) => ({ rgb, width, height, ...prompt }));
}
