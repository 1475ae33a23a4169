/** `winnow report`: a run, or several side by side, as one file to hand on. */
import type { Command } from 'commander';
import { formatBytes } from '../../../engine/errors.js';
import { writeReport } from '../../dashboard/index.js';
import * as shared from '../options.js';
import { Reporter, type ReporterOptions } from '../reporter.js';

export function addReport(program: Command): void {
  program
    .command('report')
    .description('write a run, or several side by side, as one HTML file that needs nothing else')
    .argument('<runs...>', 'folders or names of runs')
    .option('-o, --out <file>', 'the file', 'report.html')
    .option(...shared.json)
    .action(report);
}

async function report(runs: readonly string[], { out, ...options }: ReporterOptions & { readonly out: string }) {
  const reporter = new Reporter(options);
  const { bytes } = await writeReport(runs, out);
  reporter.result(`look  ${out} (${formatBytes(bytes)})`);
  reporter.object({ path: out, bytes });
}
