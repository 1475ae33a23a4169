/** The table that `winnow train` and `winnow eval` end with: every reward before and after. */
import type { RewardSummary } from '../run/metrics.js';
import { totalName } from '../run/metrics.js';
import { formatReward } from './numbers.js';

/**
 * A line a reward under a head: before, after, the difference with its 95 % interval. `deviation` is that of the trained
 * reward within a group before training, by which its difference is also given.
 */
export function resultTable(
  rewards: Readonly<Record<string, RewardSummary>>,
  weights: Readonly<Record<string, number>>,
  deviation?: number,
): string[] {
  const shown = shownRewards(rewards, weights);
  if (shown.length === 0) return [];
  const cells = shown.map(([name, summary]) => {
    const { before, after, change, interval } = summaryFigures(summary);
    const ofGroup = deviation
      ? `: ${((summary.after - summary.before) / deviation).toFixed(1)} deviations of a group`
      : '';
    const trained = name === totalName ? `  trained on${ofGroup}` : '';
    return [rewardLabel(name, weights), before, after, `${change} (${interval})${trained}`];
  });
  const rows = [['reward', 'before', 'after', 'difference (95 % interval)'], ...cells];
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map(([name = '', before = '', after = '', rest = '']) =>
    `${name.padEnd(widths[0]!)}  ${before.padStart(widths[1]!)}  ${after.padStart(widths[2]!)}  ${rest}`.trimEnd(),
  );
}

/** Before, after, the difference with its sign and its interval, with as many decimals as that has. */
export function summaryFigures({ before, after, low, high }: RewardSummary) {
  const digits = digitsFor((high - low) / 2);
  const text = (value: number): string => formatReward(value, digits);
  const change = `${after > before ? '+' : ''}${text(after - before)}`;
  return { before: text(before), after: text(after), change, interval: `${text(low)} to ${text(high)}` };
}

const trainedOn = (weights: Readonly<Record<string, number>>): [string, number][] =>
  Object.entries(weights).filter(([, weight]) => weight !== 0);

/** The sum is called by its reward where that is a single one of weight 1, otherwise `reward`; others have their names. */
export function rewardLabel(name: string, weights: Readonly<Record<string, number>>): string {
  if (name !== totalName) return name;
  const trained = trainedOn(weights);
  return trained.length === 1 && trained[0]![1] === 1 ? trained[0]![0] : totalName;
}

/** What is worth a line: a single reward of weight 1 is the sum, and is not named again. */
export function shownRewards<T>(
  rewards: Readonly<Record<string, T>>,
  weights: Readonly<Record<string, number>>,
): [string, T][] {
  const sum = rewardLabel(totalName, weights);
  return Object.entries(rewards).filter(([name]) => name === totalName || name !== sum);
}

/** Decimals that show two digits of an error, three to six. */
const digitsFor = (error: number): number =>
  error > 0 && Number.isFinite(error) ? Math.min(6, Math.max(3, Math.ceil(-Math.log10(error)) + 1)) : 3;
