/** `winnow runs`: the runs below a folder, a line each. */
import { basename } from 'node:path';
import { formatSeconds } from '../../finetune/report/numbers.js';
import { summaryFigures } from '../../finetune/report/results.js';
import type { ListedRun } from '../../finetune/run/list.js';
import { countWorkers } from '../../finetune/workers/workers_file.js';

/** A table of runs, or a line that says there are none. It has a column for workers where a run has some: those at work, or that worked. */
export function formatRuns(out: string, runs: readonly ListedRun[]): string[] {
  if (runs.length === 0) return [`no runs in ${out}`];
  const someWork = runs.some(({ workers }) => workers);
  const rows = runs.map(({ folder, workers, info: { status, updates, of, seconds, rewards, exit } }) => {
    const figures = rewards?.reward && summaryFigures(rewards.reward);
    const failure = status === 'failed' ? (exit?.reason.split('\n')[0] ?? '').slice(0, 80) : '';
    const outcome = figures ? `${figures.before} -> ${figures.after}  (${figures.interval})` : failure;
    const count = workers ? String(countWorkers(workers, status === 'running')) : '';
    const progress = [`${updates}/${of}`, formatSeconds(seconds)];
    return [basename(folder), status, ...progress, ...(someWork ? [count] : []), outcome];
  });
  const head = ['run', 'status', 'updates', 'time', ...(someWork ? ['workers'] : [])];
  const table = [[...head, 'reward, interval of the difference'], ...rows];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  return table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}
