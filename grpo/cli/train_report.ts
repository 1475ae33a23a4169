/** The lines of `winnow train`: its head, a table with a line an update, and the results. */
import { basename } from 'node:path';
import { version } from '../../engine/version.js';
import { fullGroup, groupCalls, groupPlanOf } from '../cost.js';
import type { Progress } from '../trainer.js';
import { totalName, type UpdateRecord } from './metrics.js';
import { bar, formatSeconds } from './progress.js';
import type { RewardSummary, RunDirectory } from './run_directory.js';
import type { Session } from './session.js';

/** The facts a run begins with. */
export function headLines({ folder, info: run }: RunDirectory, { config, device, model, rewards }: Session): string[] {
  const { info, features } = device;
  const { lora, sampler, grpo, train } = config;
  const count = `${formatCount(run.model.trainable)} trainable`;
  const learns = lora ? `LoRA r${lora.rank} ${count}` : train.weights ? count : 'every weight learns';
  const [height, width] = model.pictureSize;
  const weighted = rewards.rewards.map(({ reward, weight }) => `${reward.name} (${weight})`).join(', ');
  const plan = groupPlanOf(config);
  const [calls, full] = [groupCalls(plan), groupCalls(fullGroup(plan))];
  const how = {
    none: 'no selection',
    ovf: `at steps ${grpo.prune_at.join(', ')} of ${sampler.steps}`,
    uniform: `at random, at ${grpo.prune_at.length > 0 ? `steps ${grpo.prune_at.join(', ')}` : 'the end'} of ${sampler.steps}`,
    'ovf-after': 'by final rewards',
  }[grpo.prune];
  return [
    `winnow ${version}  run ${basename(folder)} -> ${folder}`,
    `device   ${info.description}${info.software ? ', software' : ''}   f16 ${yes(features.f16)}   subgroups ${yes(features.subgroupSize > 0)}`,
    `model    ${config.model.path}, ${formatCount(run.model.parameters)} parameters, ${learns}, ${width} x ${height} px   reward ${weighted}`,
    `funnel   ${grpo.keep.join(' -> ')} ${how}   ${calls.network} of ${full.network} network calls a group, ${calls.survivors} of ${full.survivors} trajectories trained`,
  ];
}

const yes = (flag: boolean): string => (flag ? 'yes' : 'no');

/** `12 k`, `2.47 M`. */
export function formatCount(count: number): string {
  if (count < 1000) return String(count);
  const [value, unit] = count < 1e6 ? [count / 1e3, 'k'] : count < 1e9 ? [count / 1e6, 'M'] : [count / 1e9, 'G'];
  return `${value >= 100 ? value.toFixed(0) : value.toPrecision(3)} ${unit}`;
}

const columns = [9, 16, 17, 8, 6, 9, 10] as const;

const row = (cells: readonly string[]): string =>
  cells
    .map((cell, i) => (i === 0 ? cell.padStart(columns[0]) : cell).padEnd((columns[i] ?? 0) + 2))
    .join('')
    .trimEnd();

export const tableHead = (): string =>
  row(['update', 'reward', 'spread all/kept', 'kl', 'clip', '|grad|', 's/update', 'sample/preview/train']);

/** One update; `of` is how many there are to be. */
export function tableRow(record: UpdateRecord, of: number): string {
  const value = (name: string): number => record[name] ?? Number.NaN;
  const phases = ['seconds/sample', 'seconds/reward', 'seconds/train'].map(value);
  const sum = phases.reduce((total, phase) => total + phase, 0) || 1;
  return row([
    `${record.update}/${of}`,
    `${formatReward(value('reward'))} ± ${formatReward(value('reward_std'))}`,
    `${formatReward(value('spread/all'))} / ${formatReward(value('spread/kept'))}`,
    value('kl').toFixed(4),
    `${(100 * value('clip_ratio/region_mean')).toFixed(0)} %`,
    value('grad_norm').toPrecision(2),
    value('seconds').toFixed(1),
    `${phases.map((phase) => ((100 * phase) / sum).toFixed(0)).join(' / ')} %`,
  ]);
}

/** Held-out rewards after some updates; before the first, those of the model as it starts. */
export function evaluationRow(
  update: number,
  of: number,
  rewards: Readonly<Record<string, { readonly mean: number }>>,
  weights: Readonly<Record<string, number>>,
): string {
  const means = shownRewards(rewards, weights).map(([name, { mean }]) => `${name} ${formatReward(mean)}`);
  return row([`${update}/${of}`, `held-out ${means.join('   ')}`]);
}

/** The live line of an update. */
export function statusLine(
  progress: Progress,
  {
    update,
    of,
    keep,
    steps,
    secondsLeft,
  }: {
    readonly update: number;
    readonly of: number;
    readonly keep: number;
    readonly steps: number;
    readonly secondsLeft: number | undefined;
  },
): string {
  const what =
    progress.phase === 'training'
      ? `training  ${progress.rows} steps of trajectories`
      : `sampling  group ${progress.group + 1}/${progress.groups}  step ${progress.step}/${steps}  alive ${progress.alive}/${keep}  ${bar((progress.group + progress.step / steps) / progress.groups)}`;
  const eta = secondsLeft === undefined ? '' : `  eta ${formatSeconds(secondsLeft)}`;
  return `${`${update + 1}/${of}`.padStart(columns[0])}  [${what}]${eta}`;
}

/** The results: a line for the sum that was trained on, then one for each reward that is reported besides. */
export function doneLines(
  updates: number,
  seconds: number,
  rewards: Readonly<Record<string, RewardSummary>>,
  weights: Readonly<Record<string, number>>,
): string[] {
  const done = `done  ${updates} updates, ${seconds.toFixed(0)} s.`;
  const shown = shownRewards(rewards, weights);
  if (shown.length === 0) return [done];
  return shown.map(([name, summary]) => `${done}  ${summaryText(name, summary)}`);
}

/** `reward 0.412 -> 0.641 on 64 held-out prompts (95 % interval of the difference: 0.210 to 0.250)` */
export function summaryText(name: string, summary: RewardSummary): string {
  const { change, interval } = summaryFigures(summary);
  return `${rewardLabel(name)} ${change} on ${summary.n} held-out prompts (95 % interval of the difference: ${interval})`;
}

/** Before and after, and the interval of the difference, with as many decimals as that has. */
export function summaryFigures({ before, after, low, high }: RewardSummary): { change: string; interval: string } {
  const digits = digitsFor((high - low) / 2);
  const text = (value: number): string => formatReward(value, digits);
  return { change: `${text(before)} -> ${text(after)}`, interval: `${text(low)} to ${text(high)}` };
}

/** The sum is called `reward`; others have their name beside the word. */
export const rewardLabel = (name: string): string => (name === totalName ? 'reward' : `reward ${name}`);

/** What is worth a line: a single reward of weight 1 is the sum, and is not named again. */
export function shownRewards<T>(
  rewards: Readonly<Record<string, T>>,
  weights: Readonly<Record<string, number>>,
): [string, T][] {
  const trained = Object.entries(weights).filter(([, weight]) => weight !== 0);
  const isSum = ([name, weight]: [string, number]): boolean =>
    trained.length === 1 && weight === 1 && name !== totalName;
  return Object.entries(rewards).filter(([name]) => !trained.some((each) => each[0] === name && isSum(each)));
}

/** Decimals that show two digits of an error, three to six. */
const digitsFor = (error: number): number =>
  error > 0 && Number.isFinite(error) ? Math.min(6, Math.max(3, Math.ceil(-Math.log10(error)) + 1)) : 3;

/** A reward with three decimals, or fewer where it is large. */
export function formatReward(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  return value.toFixed(size >= 1000 ? 0 : size >= 100 ? Math.min(digits, 1) : digits);
}
