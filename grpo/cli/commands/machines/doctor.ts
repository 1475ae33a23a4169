/** `winnow doctor`: what this machine offers. */
import type { Command } from 'commander';
import { diagnose } from '../../../finetune/doctor.js';
import { exitCodes } from '../../../finetune/exit_codes.js';
import type { Finish } from '../../finish.js';
import { formatReport } from '../../print/doctor.js';
import { warn } from '../../reporter.js';

export function addDoctor(program: Command, finish: Finish): void {
  program
    .command('doctor')
    .description(
      'show Node, adapter, driver, limits and features, check a kernel against the CPU and measure the peaks',
    )
    .option('--json', 'print one JSON object and nothing else on stdout')
    .action(async ({ json = false }: { readonly json?: boolean }) => {
      const { report, error } = await diagnose();
      const printed = error ? { ...report, error: error.message } : report;
      process.stdout.write(`${json ? JSON.stringify(printed, null, 2) : formatReport(report)}\n`);
      for (const warning of report.warnings) warn(`! ${warning}`);
      if (error) throw error;
      if (!report.device?.checks.every(({ ok }) => ok)) finish(exitCodes.bug);
    });
}
