/** `winnow export`: what a run has learned, for other programs. */
import type { Command } from 'commander';
import { type ExportOptions, exportRun } from '../../finetune/export/export.js';
import { oneOf } from '../arguments.js';
import * as shared from '../options.js';
import { warn } from '../reporter.js';

export function addExport(program: Command): void {
  program
    .command('export')
    .description("write a run's adapter for other programs, or the model's folder where every weight was trained")
    .argument('<run>', "the run's folder or name")
    .option(
      '--format <format>',
      'diffusers, peft or kohya',
      oneOf<ExportOptions['format']>('diffusers', 'peft', 'kohya'),
      'diffusers',
    )
    .option(...shared.step)
    .option('--ema', 'the moving averages instead of the weights')
    .option('--dtype <type>', 'f32 or f16', oneOf<ExportOptions['dtype']>('f32', 'f16'), 'f32')
    .option('--out <folder>', "where it goes (default: export/<format> in the run's folder)")
    .option(...shared.device)
    .action(async (run: string, options: ExportOptions) => {
      process.stdout.write(`${await exportRun(run, { ...options, onWarning: (message) => warn(`! ${message}`) })}\n`);
    });
}
