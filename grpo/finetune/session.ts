/** What the commands of a run work with: its configuration, model, prompts and rewards, all checked before anything is done. */
import { type Device, scope } from '../../engine/index.js';
import { pipelineKinds } from '../../models/pipeline/kinds.js';
import type { Pipeline } from '../../models/pipeline/pipeline.js';
import type { RunConfig } from '../config.js';
import type { Prompt } from '../model.js';
import { CombinedReward, type RewardImage } from '../rewards/reward.js';
import { type DeviceChoice, openDevice } from './device.js';
import { preparing, UsageError } from './errors.js';
import { type LoadedModel, loadModel } from './policy.js';
import { readPromptFile, readPrompts } from './prompts.js';
import { loadReward, loadRewards } from './rewards/registry.js';
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
  close(): void;
}

/** Prompts of a sample grid where no file names them. */
const gridPrompts = 8;

/** Factors of the rewards in the sum that is trained on. */
export const weightsOf = ({ reward }: Pick<RunConfig, 'reward'>): Record<string, number> =>
  Object.fromEntries(Object.entries(reward).map(([name, { weight }]) => [name, weight]));

/**
 * Reads the prompts, opens the device, loads model and rewards, and has each reward score a picture, so that a wrong file, a
 * server that is down or a prompt that a reward can't read is found before there is anything to lose. Tells `warn` of prompts
 * that the model can't read to their end.
 */
export async function openSession(
  config: RunConfig,
  { warn, ...choice }: DeviceChoice & { readonly warn: (line: string) => void },
): Promise<Session> {
  if (totalName in config.reward || config.eval.rewards.includes(totalName))
    throw new UsageError(`reward.${totalName}: this name is taken by the weighted sum of the rewards`);
  const test = await readPrompts(config.prompts.test, 'test');
  const { prompts: file } = config.sample;
  const prompts = {
    train: await readPrompts(config.prompts.train, 'train'),
    test,
    samples: file === undefined ? test.slice(0, gridPrompts) : await readPromptFile(file),
  };
  const device = await openDevice(choice);
  try {
    const model = await preparing(() => loadModel(device, config));
    const asked = Object.values(prompts).flat();
    if (pipelineKinds[model.pipeline.kind].promptsAreClasses) await preparing(async () => checkClasses(model, asked));
    warnOfCuts(model.pipeline, asked, warn);
    const rewards = await preparing(() => loadRewards(device, config));
    const reported = await preparing(() => withReported(device, rewards, config));
    await reported.score(greyPictures(model, [prompts.train[0]!, test[0]!]));
    return { config, device, model, prompts, rewards, reported, close: () => device.close() };
  } catch (error) {
    device.close();
    throw error;
  }
}

function checkClasses(model: LoadedModel, prompts: readonly Prompt[]): void {
  scope(model.device, () => {
    model.encode(prompts.map(({ prompt }) => prompt));
  });
}

const cutsShown = 3;

/** Tells of prompts that are longer than what a model reads of them, each once. */
export function warnOfCuts(
  { cut }: Pick<Pipeline, 'cut'>,
  prompts: readonly Prompt[],
  warn: (line: string) => void,
): void {
  const long = [...new Set(prompts.map(({ prompt }) => prompt))].filter((prompt) => cut(prompt) !== '');
  for (const prompt of long.slice(0, cutsShown))
    warn(`the model does not read the end of the prompt "${prompt.slice(0, 40)}...": «${cut(prompt)}»`);
  if (long.length > cutsShown) warn(`and of ${long.length - cutsShown} other prompts, which are too long as well`);
}

/** The rewards of a run with those that its evaluations report besides. */
async function withReported(device: Device, rewards: CombinedReward, config: RunConfig): Promise<CombinedReward> {
  const known = new Set(rewards.rewards.map(({ reward }) => reward.name));
  const all = [...rewards.rewards];
  for (const name of new Set(config.eval.rewards)) {
    if (!known.has(name)) all.push({ reward: await loadReward(device, name), weight: 0 });
  }
  return new CombinedReward(all);
}

function greyPictures({ pictureSize: [height, width] }: LoadedModel, prompts: readonly Prompt[]): RewardImage[] {
  const rgb = new Uint8Array(3 * height * width).fill(128);
  return prompts.map((prompt) => ({ rgb, width, height, ...prompt }));
}
