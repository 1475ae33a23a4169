/** `winnow tune`: which kernels are the fastest on this adapter. */
import type { Command } from 'commander';
import { tune } from '../../../finetune/device.js';
import * as shared from '../../options.js';

export function addTune(program: Command): void {
  program
    .command('tune')
    .description('measure which kernels are the fastest on this adapter, and use them from now on')
    .option(...shared.device)
    .action(async (options: { readonly device?: string }) => {
      const { adapter, trials, path } = await tune(options);
      const rows = trials.map(({ shapeClass, shape, milliseconds, chosen }) => {
        const times = Object.entries(milliseconds).map(([kernel, ms]) => `${kernel} ${ms.toFixed(2)} ms`);
        return `${shapeClass.padEnd(20)} ${shape.padEnd(24)} ${chosen.padEnd(28)} of ${times.join(', ')}`;
      });
      for (const line of [adapter, ...rows, `kept in ${path}`]) process.stdout.write(`${line}\n`);
    });
}
