/** `winnow inspect`: how rewards spread in one full group, in a uniform half of it, and in the half of largest variance. */

import { writeWhole } from '../../../engine/files.js';
import { encodePng } from '../../../models/pictures/png.js';
import { readRunWeights } from '../../finetune/adapter.js';
import { loadConfig } from '../../finetune/config/file.js';
import { preparing, UsageError } from '../../finetune/errors.js';
import { drawHistograms, type Histogram, histogramOf } from '../../finetune/histogram.js';
import { findRun, RunDirectory } from '../../finetune/run/folder.js';
import { openSession, type Session } from '../../finetune/session.js';
import { momentsOf } from '../../learning/advantage.js';
import { Rollout } from '../../rollout/rollout.js';
import { wholeGroup } from '../../rollout/stages.js';
import { Trajectories } from '../../rollout/trajectories.js';
import { optimalVarianceSubset, uniformSubset } from '../../rollout/variance_filter.js';
import { transitionsOf } from '../../sampling/transitions.js';
import { formatReward } from '../print/numbers.js';
import { Reporter, type ReporterOptions } from '../reporter.js';

export interface InspectOptions extends ReporterOptions {
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
  /** The PNG to write. */
  readonly out: string;
  readonly device?: string;
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

/** Draws a group to its end, has it scored, and prints and draws the histograms. Returns the PNG's path. */
export async function inspect(given: string | undefined, options: InspectOptions): Promise<string> {
  const reporter = new Reporter(options);
  const folder = given === undefined ? undefined : await findRun(given);
  if (folder === undefined && options.step !== undefined)
    throw new UsageError(`${given ?? 'inspect'} is no run: --step is for runs`);
  const config = await loadConfig(folder ?? given, options.set);
  const { n = config.grpo.keep[0]!, seed = config.seed } = options;
  const keep = options.keep ?? Math.floor(n / 2);
  if (keep >= n) throw new UsageError(`--keep ${keep}: expected less than the group's ${n}`);
  const session = await openSession(config, { ...options, warn: (line) => reporter.warn(line) });
  try {
    if (folder !== undefined)
      await readRunWeights(session.model, await RunDirectory.open(folder), config, options.step);
    const first = session.prompts.test[0]!;
    const prompt = options.prompt === undefined ? first : { prompt: options.prompt, meta: {} };
    const rewards = await preparing(() => drawGroup(session, { prompt, n, seed }, reporter));
    const inspection = { prompt: prompt.prompt, rewards, subsets: compareSubsets(rewards, keep, seed) };
    const histograms = histogramsOf(inspection);
    const name = Object.keys(config.reward).join(' + ');
    const text = { prompt: prompt.prompt, seed: String(seed), reward: name, rewards: rewards.join(' ') };
    await writeWhole(options.out, encodePng(drawHistograms(histograms), text));
    reporter.clear();
    reporter.object({ ...inspection, path: options.out });
    for (const line of formatInspection(inspection, histograms, name)) reporter.result(line);
    reporter.hint(`look  ${options.out}`);
    return options.out;
  } finally {
    reporter.clear();
    session.close();
  }
}

type Prompt = Session['prompts']['test'][number];

/** Final rewards of a group that nobody thins. */
async function drawGroup(
  { config, model, rewards }: Session,
  { prompt, n, seed }: { readonly prompt: Prompt; readonly n: number; readonly seed: number },
  reporter: Reporter,
): Promise<readonly number[]> {
  const { sampler, grpo } = config;
  const { steps } = sampler;
  const transitions = transitionsOf(model.schedule(steps, sampler.kind), sampler, grpo);
  const store = Trajectories.create(model, { slots: n, groups: 1, transitions });
  const rollout = await Rollout.create(model, store, rewards, { sampler, grpo: wholeGroup(n), seed });
  store.encode([prompt.prompt]);
  const [group] = await rollout.sample([prompt], 0, {
    ...(reporter.live && {
      onStep: ({ step }) => reporter.status(`sampling  ${n} pictures  step ${step}/${steps}`),
    }),
  });
  return group!.finals;
}

/** Each subset's histogram over the same bins. */
function histogramsOf({ rewards, subsets }: Inspection): Histogram[] {
  return subsets.map(({ name, samples, mean, std }) =>
    histogramOf(
      samples.map((i) => rewards[i]!),
      { all: rewards, title: `${name}: ${samples.length}`, mean, std },
    ),
  );
}

const width = 20; // of the longest bar

/** A row a bin, a column a subset; below them mean and spread. */
export function formatInspection(
  { prompt, subsets }: Inspection,
  histograms: readonly Histogram[],
  reward: string,
): string[] {
  const [full] = histograms;
  const most = Math.max(1, ...histograms.flatMap(({ counts }) => counts));
  const line = (label: string, cells: readonly string[]): string =>
    `${label.padEnd(20)}${cells.map((cell) => cell.padEnd(width + 4)).join('')}`.trimEnd();
  const bins = full!.counts.map((_, b) =>
    line(
      `${formatReward(full!.edges[b]!)} to ${formatReward(full!.edges[b + 1]!)}`,
      histograms.map(({ counts }) => '#'.repeat(Math.round((counts[b]! / most) * width))),
    ),
  );
  const spread = subsets[0]!.std;
  const times = (std: number): string => (spread > 0 ? `  (${(std / spread).toFixed(2)} x)` : '');
  return [
    `"${prompt}"   reward ${reward}`,
    line(
      '',
      histograms.map(({ title }) => title),
    ),
    ...bins,
    line(
      'mean',
      subsets.map(({ mean }) => formatReward(mean)),
    ),
    line(
      'spread',
      subsets.map(({ std }, i) => `${formatReward(std, 4)}${i > 0 ? times(std) : ''}`),
    ),
  ];
}
