/** How rewards spread in one full group, in a uniform half of it, and in the half of largest variance (the paper's figure 1). */
import { momentsOf } from '../learning/advantage.js';
import type { CombinedReward } from '../rewards/reward.js';
import { Rollout } from '../rollout/rollout.js';
import { wholeGroup } from '../rollout/stages.js';
import { Trajectories } from '../rollout/trajectories.js';
import { optimalVarianceSubset, uniformSubset } from '../rollout/variance_filter.js';
import { pathOf } from '../sampling/window.js';
import { readRunWeights } from './adapter.js';
import { loadConfig } from './config/file.js';
import { preparing, UsageError } from './errors.js';
import { RunFolder } from './run/folder.js';
import { findRun } from './run/list.js';
import { openSession, type Session } from './session.js';

export interface InspectOptions {
  readonly set?: readonly string[];
  /** Default: the first test prompt. */
  readonly prompt?: string;
  /** Size of the group. Default: the configured one. */
  readonly n?: number;
  /** How many each selection keeps. Default: half. */
  readonly keep?: number;
  /** Of the group's noise; default that of the configuration. */
  readonly seed?: number;
  /** Of a run: the checkpoint after so many updates; default the last. */
  readonly step?: number;
  readonly device?: string;
  /** Told after each step. */
  readonly onStep?: (pictures: number, step: number, steps: number) => void;
}

/** Some samples of a group. */
export interface Subset {
  readonly name: string;
  /** Their numbers in the group. */
  readonly samples: readonly number[];
  readonly mean: number;
  /** Population standard deviation of their rewards. */
  readonly std: number;
}

export interface Inspection {
  readonly prompt: string;
  /** Final rewards of the full group. */
  readonly rewards: readonly number[];
  /** The full group, a uniform part, the part of largest variance. */
  readonly subsets: readonly Subset[];
  /** What they are rewards of: `clip + aesthetic`. */
  readonly reward: string;
  /** Of the noise. */
  readonly seed: number;
  readonly warnings: readonly string[];
}

/** The selections that the paper's figure 1 compares, of `keep` samples each; samples without a finite reward are left out. */
export function compareSubsets(rewards: readonly number[], keep: number, seed: number): Subset[] {
  const finite = rewards.flatMap((reward, i) => (Number.isFinite(reward) ? [i] : []));
  const values = finite.map((i) => rewards[i]!);
  const subset = (name: string, places: readonly number[]): Subset => ({
    name,
    samples: places.map((place) => finite[place]!),
    ...momentsOf(places.map((place) => values[place]!)),
  });
  const count = Math.min(keep, finite.length);
  const part = 2 * keep === rewards.length ? 'half' : `${keep} of ${rewards.length}`;
  return [
    subset('full group', [...finite.keys()]),
    subset(`uniform ${part}`, uniformSubset(finite.length, count, seed)),
    subset(`OVF ${part}`, optimalVarianceSubset(values, count)),
  ];
}

/** Draws a group to its end and has it scored. Throws a UsageError for what does not go together. */
export async function inspectGroup(given: string | undefined, options: InspectOptions = {}): Promise<Inspection> {
  const folder = given === undefined ? undefined : await findRun(given);
  if (folder === undefined && options.step !== undefined)
    throw new UsageError(`${given ?? 'inspect'} is no run: --step is for runs`);
  const config = await loadConfig(folder ?? given, options.set);
  const { n = config.grpo.keep[0]!, seed = config.seed, onStep } = options;
  const keep = options.keep ?? Math.floor(n / 2);
  if (keep >= n) throw new UsageError(`--keep ${keep}: expected less than the group's ${n}`);
  const session = await openSession(config, options);
  try {
    const run = folder === undefined ? undefined : await RunFolder.open(folder);
    const checkpoint = run && (await readRunWeights(session.model, run, config, options.step));
    const first = session.prompts.test[0]!;
    const prompt = options.prompt === undefined ? first : { prompt: options.prompt, meta: {} };
    const rewards = await preparing(() => drawGroup(session, { prompt, n, seed, onStep }));
    return {
      prompt: prompt.prompt,
      rewards,
      subsets: compareSubsets(rewards, keep, seed),
      reward: Object.keys(config.reward).join(' + '),
      seed,
      warnings: [...(checkpoint?.warnings ?? []), ...session.warnings],
    };
  } finally {
    session.close();
  }
}

type Prompt = Session['prompts']['test'][number];

/** Final rewards of a group that nobody thins. */
async function drawGroup(
  session: Session,
  { prompt, ...how }: Omit<DrawnGroups, 'prompts'> & { readonly prompt: Prompt },
): Promise<readonly number[]> {
  const [group] = await drawGroups(session, { ...how, prompts: [prompt] });
  return group!.rewards;
}

export interface DrawnGroups {
  readonly prompts: readonly Prompt[];
  /** Samples of each group. */
  readonly n: number;
  /** Of the noise. */
  readonly seed: number;
  /** What scores. Default: what is trained on. */
  readonly reward?: CombinedReward;
  readonly signal?: AbortSignal | undefined;
  /** Told after each step. */
  readonly onStep?: ((pictures: number, step: number, steps: number) => void) | undefined;
}

/** Draws a group of each prompt to its end, as a rollout draws, and gives the rewards: the sum, and each by its name. */
export async function drawGroups(
  { config, model, rewards }: Session,
  { prompts, n, seed, reward = rewards, signal, onStep }: DrawnGroups,
): Promise<{ readonly rewards: readonly number[]; readonly byReward: Readonly<Record<string, readonly number[]>> }[]> {
  const { sampler, grpo } = config;
  const { steps } = sampler;
  const transitions = pathOf(model, { sampler, grpo, seed }, 0);
  const store = Trajectories.create(model, { slots: n, groups: 1, transitions });
  let rollout: Rollout | undefined;
  try {
    rollout = await Rollout.create(model, store, reward, { sampler, grpo: wholeGroup(n), seed });
    const drawn = [];
    for (const [update, prompt] of prompts.entries()) {
      store.clear();
      store.encode([prompt.prompt]);
      const [group] = await rollout.sample([prompt], update, {
        signal,
        ...(onStep && { onStep: ({ step }) => onStep(n, step, steps) }),
      });
      drawn.push({ rewards: group!.finals, byReward: group!.byReward });
    }
    return drawn;
  } finally {
    rollout?.dispose();
    store.dispose();
  }
}
