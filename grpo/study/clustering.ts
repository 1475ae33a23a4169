/** How rewards cluster within groups (the paper's figure 1): a measurement of the model before any training. */
import { writeWhole } from '../../engine/files.js';
import type { Device } from '../../engine/index.js';
import { randomStream } from '../../models/scenes/random.js';
import { type Estimate, estimateMean } from '../evaluate.js';
import { loadConfig } from '../finetune/config/file.js';
import { compareSubsets, drawGroups } from '../finetune/inspect.js';
import { scenePrompts } from '../finetune/prompts.js';
import { sessionOn } from '../finetune/session.js';
import { momentsOf } from '../learning/advantage.js';
import type { ClusteringExperiment } from './experiment.js';
import { setsOf } from './planned_run.js';
import { recipes, studyFormat } from './recipe.js';
import { readStored } from './stored.js';

/** Shares of a set's rewards near the mean of the full group, means over groups. */
export interface Shares {
  /** `full group`, `uniform half`, `OVF half`; `normal` for values of a normal distribution in groups of that size. */
  readonly set: string;
  /** Within half a deviation of the full group, and within one. */
  readonly half: Estimate;
  readonly one: Estimate;
  /** Deviation of the set over that of the full group. */
  readonly spread: Estimate;
}

export interface Clustering {
  readonly reward: string;
  readonly shares: readonly Shares[];
}

/** The measurement, from a file below `out` where it was made before by the same declaration. */
export async function storedClustering(
  device: () => Promise<Device>,
  experiment: ClusteringExperiment,
  out: string,
  signal: AbortSignal | undefined,
): Promise<Clustering[]> {
  const content = JSON.stringify([experiment, recipes.flow, studyFormat]);
  const { path, stored } = await readStored<Clustering[]>(out, experiment.name, content);
  if (stored) return stored;
  const measured = await measureClustering(await device(), experiment, { signal });
  await writeWhole(path, `${JSON.stringify(measured, null, 2)}\n`);
  return measured;
}

/** Draws the groups, of the first captions of the training, and looks at each reward. */
export async function measureClustering(
  device: Device,
  { prompts, size, keep, rewards }: ClusteringExperiment,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Clustering[]> {
  const { preset, changes } = recipes.flow;
  const [trained, ...others] = rewards;
  const config = await loadConfig(preset, [
    ...setsOf(changes),
    `reward=${JSON.stringify({ [trained!]: { weight: 1 } })}`,
    `eval.rewards=${JSON.stringify(others)}`,
  ]);
  const session = await sessionOn(device, config, options);
  try {
    const captions = scenePrompts('train').slice(0, prompts);
    const groups = await drawGroups(session, {
      prompts: captions,
      n: size,
      seed: 0,
      reward: session.reported,
      ...options,
    });
    return rewards.map((reward) => ({
      reward,
      shares: sharesOf(
        groups.map(({ byReward }) => byReward[reward]!),
        keep,
      ),
    }));
  } finally {
    session.close();
  }
}

/** Shares over some groups of rewards. Groups without spread, in which every place is the mean, are left out. */
export function sharesOf(groups: readonly (readonly number[])[], keep: number): Shares[] {
  const spreading = groups.filter((rewards) => momentsOf(rewards).std > 0);
  const sets = spreading.map((rewards, g) => {
    const { mean, std } = momentsOf(rewards);
    return compareSubsets(rewards, keep, g).map((subset) => {
      const distances = subset.samples.map((sample) => Math.abs(rewards[sample]! - mean) / std);
      const within = (border: number): number => distances.filter((each) => each < border).length / distances.length;
      return { set: subset.name, half: within(0.5), one: within(1), spread: subset.std / std };
    });
  });
  const names = sets[0]?.map(({ set }) => set) ?? [];
  return names.map((set, i) => {
    const estimate = (key: 'half' | 'one' | 'spread'): Estimate => estimateMean(sets.map((each) => each[i]![key]));
    return { set, half: estimate('half'), one: estimate('one'), spread: estimate('spread') };
  });
}

const simulated = 2000;

/** The same of values from a normal distribution, in groups of that size: what no clustering looks like. */
export function normalShares(size: number, keep: number): Shares {
  const random = randomStream(0);
  const groups = Array.from({ length: simulated }, () => Array.from({ length: size }, () => random.normal()));
  return { ...sharesOf(groups, keep)[0]!, set: 'normal' };
}
