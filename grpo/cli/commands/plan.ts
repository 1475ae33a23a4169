/** `winnow plan`: what a run will compute, keep in memory and cost. */
import { type Command, InvalidArgumentError } from 'commander';
import type { AtomicCosts } from '../../cost.js';
import { loadConfig, usualPreset } from '../../finetune/config/file.js';
import { type PlanOptions, plan } from '../../finetune/plan/plan.js';
import * as shared from '../options.js';
import { formatPlan } from '../print/plan.js';
import { warn } from '../reporter.js';

export function addPlan(program: Command): void {
  program
    .command('plan')
    .description('show what a run will compute, keep in memory and cost against the full group; nothing is trained')
    .argument('[config]', `a file, a preset or a run's folder (default: ${usualPreset})`)
    .option(...shared.set)
    .option('--costs <call,decode>', 'TFLOP of a network call and of a decode with its reward', atomicCosts)
    .option('--probe', 'load the model, count its arithmetic, and measure time and memory by running each part')
    .option('--device <name>', "part of an adapter's name, for --probe")
    .option('--json', 'print one JSON object and nothing else on stdout')
    .action(async (config: string | undefined, options: PlanOptions & { set?: string[]; json?: boolean }) => {
      const report = await plan(await loadConfig(config, options.set), options);
      process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : formatPlan(report)}\n`);
      for (const warning of report.warnings) warn(`! ${warning}`);
    });
}

/** Parses two costs in TFLOP, `3.88,2.82`. */
function atomicCosts(text: string): AtomicCosts {
  const [network = Number.NaN, decode = Number.NaN, ...more] = text.split(',').map(Number);
  if (!(network > 0 && decode >= 0 && Number.isFinite(network + decode)) || more.length > 0)
    throw new InvalidArgumentError('Expected two numbers: 3.88,2.82.');
  return { network, decode };
}
