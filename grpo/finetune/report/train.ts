/** The lines of a run: its head, a table with a line an update, and the results. */
import { basename } from 'node:path';
import { version } from '../../../engine/version.js';
import { fullGroup, groupCalls, groupPlanOf } from '../../cost.js';
import { pruneSteps, sizesOf } from '../../rollout/stages.js';
import type { Progress } from '../../trainer.js';
import type { DoneEvent, ProgressEvent, StartedEvent } from '../run/events.js';
import type { UpdateRecord } from '../run/metrics.js';
import { bar, formatCount, formatReward, formatSeconds } from './numbers.js';
import { resultTable, rewardLabel, shownRewards } from './results.js';

/** The facts a run begins with. */
export function headLines({ run, info, config, device, pictureSize, weights }: StartedEvent): string[] {
  const { lora, sampler, grpo, train } = config;
  const count = `${formatCount(info.model.trainable)} trainable`;
  const learns = lora ? `LoRA r${lora.rank} ${count}` : train.weights ? count : 'every weight learns';
  const [height, width] = pictureSize;
  const weighted = Object.entries(weights)
    .map(([name, weight]) => `${name} (${weight})`)
    .join(', ');
  const plan = groupPlanOf(config);
  const [calls, full] = [groupCalls(plan), groupCalls(fullGroup(plan))];
  const at = pruneSteps(plan.stages);
  const when = `${at.length > 0 ? `steps ${at.join(', ')}` : 'the end'} of ${sampler.steps}`;
  const how = {
    none: 'no selection',
    ovf: `at ${when}`,
    uniform: `at random, at ${when}`,
    'ovf-after': 'by final rewards',
    'best-of-n': 'the lowest and highest final rewards',
  }[grpo.prune];
  return [
    `winnow ${version}  run ${basename(run)} -> ${run}`,
    `device   ${device.description}${device.software ? ', software' : ''}   f16 ${yes(device.f16)}   subgroups ${yes(device.subgroups)}`,
    `model    ${config.model.path}, ${formatCount(info.model.parameters)} parameters, ${learns}, ${width} x ${height} px   reward ${weighted}`,
    `funnel   ${sizesOf(plan.stages).join(' -> ')} ${how}   ${calls.network} of ${full.network} network calls a group, ${calls.survivors} of ${full.survivors} trajectories trained`,
  ];
}

const yes = (flag: boolean): string => (flag ? 'yes' : 'no');

/** Of the table, so that a row of common numbers has no more than 80 characters. */
const columns = [8, 13, 15, 6, 4, 6, 4] as const;

const row = (cells: readonly string[]): string =>
  cells
    .map((cell, i) => (i === 0 ? cell.padStart(columns[0]) : cell).padEnd((columns[i] ?? 0) + 2))
    .join('')
    .trimEnd();

export const tableHead = (): string =>
  row(['update', 'reward', 'spread all/kept', 'kl', 'clip', '|grad|', 's', 'draw/score']);

/** One update; `of` is how many there are to be. Of its seconds the last column has the shares of drawing and of scoring. */
export function tableRow(record: UpdateRecord, of: number): string {
  const value = (name: string): number => record[name] ?? Number.NaN;
  const phases = ['seconds/sample', 'seconds/reward', 'seconds/train'].map(value);
  const sum = phases.reduce((total, phase) => total + phase, 0) || 1;
  return row([
    `${record.update}/${of}`,
    `${formatReward(value('reward'))} ± ${formatReward(value('reward_std'))}`,
    `${formatReward(value('spread/all'))} / ${formatReward(value('spread/kept'))}`,
    value('kl').toFixed(4),
    Number.isNaN(value('clip_ratio/region_mean')) ? '–' : `${(100 * value('clip_ratio/region_mean')).toFixed(0)} %`,
    value('grad_norm').toPrecision(2),
    value('seconds').toFixed(1),
    `${phases
      .slice(0, 2)
      .map((phase) => ((100 * phase) / sum).toFixed(0))
      .join(' / ')} %`,
  ]);
}

/** Held-out rewards after some updates; before the first, those of the model as it starts. */
export function evaluationRow(
  update: number,
  of: number,
  rewards: Readonly<Record<string, { readonly mean: number }>>,
  weights: Readonly<Record<string, number>>,
): string {
  const means = shownRewards(rewards, weights).map(
    ([name, { mean }]) => `${rewardLabel(name, weights)} ${formatReward(mean)}`,
  );
  return row([`${update}/${of}`, `held-out ${means.join('   ')}`]);
}

/** The live line of an update. */
export function statusLine(
  progress: Progress,
  { update, of, groupSize, steps, secondsLeft }: Omit<ProgressEvent, 'kind' | 'at'>,
): string {
  const place = `${update + 1}/${of}`.padStart(columns[0]);
  const eta = secondsLeft === undefined ? [] : [`eta ${formatSeconds(secondsLeft)}`];
  if (progress.phase === 'training') return [place, `training ${progress.rows} rows`, ...eta].join('  ');
  const { groups, step, alive, taken } = progress;
  const share = taken / (steps * groups);
  return [
    place,
    bar(share, 12),
    groupText(progress),
    `step ${step}/${steps}`,
    `alive ${alive}/${groupSize}`,
    ...eta,
  ].join('  ');
}

/** `group 3/8`, or `groups 1-4/8` of those that are drawn together. */
function groupText({ group, together, groups }: Extract<Progress, { phase: 'sampling' }>): string {
  const last = group + together;
  return together === 1 ? `group ${last}/${groups}` : `groups ${group + 1}-${last}/${groups}`;
}

/** The results: how long it took, and every reward before and after. */
export function doneLines({
  updates,
  seconds,
  rewards,
  weights,
  deviation,
}: Pick<DoneEvent, 'updates' | 'seconds' | 'rewards' | 'weights' | 'deviation'>): string[] {
  const done = `done     ${updates} ${updates === 1 ? 'update' : 'updates'}, ${seconds.toFixed(0)} s`;
  const n = Object.values(rewards)[0]?.n;
  return [n ? `${done}; ${n} held-out pictures before and after:` : done, ...resultTable(rewards, weights, deviation)];
}
