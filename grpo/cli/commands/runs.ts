/** `winnow runs`: the runs below a folder. */
import type { Command } from 'commander';
import { listRuns } from '../../finetune/run/list.js';
import * as shared from '../options.js';
import { formatRuns } from '../print/runs.js';

export function addRuns(program: Command): void {
  program
    .command('runs')
    .description('list runs')
    .option('--out <folder>', 'where they are', 'runs')
    .option(...shared.json)
    .action(async ({ out, json }: { readonly out: string; readonly json?: boolean }) => {
      const runs = await listRuns(out);
      const lines = json
        ? runs.map(({ folder, info, workers }) => JSON.stringify({ folder, ...info, workers: workers?.workers }))
        : formatRuns(out, runs);
      for (const line of lines) process.stdout.write(`${line}\n`);
    });
}
