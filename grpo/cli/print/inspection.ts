/** A group's rewards as lines. */
import type { Inspection } from '../../finetune/inspect.js';
import { type Histogram, histogramOf } from '../../finetune/report/histogram.js';
import { formatReward } from '../../finetune/report/numbers.js';

/** Each subset's histogram over the same bins. */
export function histogramsOf({ rewards, subsets }: Pick<Inspection, 'rewards' | 'subsets'>): Histogram[] {
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
  { prompt, subsets, reward }: Pick<Inspection, 'prompt' | 'subsets' | 'reward'>,
  histograms: readonly Histogram[],
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
