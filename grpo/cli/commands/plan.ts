/** `winnow plan`: what a run will compute, keep in memory and cost. */
import { type Command, InvalidArgumentError } from 'commander';
import type { AtomicCosts } from '../../cost.js';
import { loadConfig, usualPreset } from '../../finetune/config/file.js';
import { UsageError } from '../../finetune/errors.js';
import { type PlanOptions, plan } from '../../finetune/plan/plan.js';
import { planWorkers } from '../../workers/plan.js';
import { wholeNumber } from '../arguments.js';
import * as shared from '../options.js';
import { formatPlan } from '../print/plan.js';
import { warn } from '../reporter.js';

type PlanCommandOptions = PlanOptions & {
  readonly set?: string[];
  readonly json?: boolean;
  readonly workers?: number;
  /** Gbit/s. */
  readonly network?: number;
};

const usualNetwork = 10;

export function addPlan(program: Command): void {
  program
    .command('plan')
    .description('show what a run will compute, keep in memory and cost against the full group; nothing is trained')
    .argument('[config]', `a file, a preset or a run's folder (default: ${usualPreset})`)
    .option(...shared.set)
    .option('--costs <call,decode>', 'TFLOP of a network call and of a decode with its reward', atomicCosts)
    .option('--probe', 'load the model, count its arithmetic, and measure time and memory by running each part')
    .option('--device <name>', "part of an adapter's name, for --probe")
    .option(
      '--workers <number>',
      'with so many winnow worker: shards, bytes, and by --probe the time of an update',
      wholeNumber(1, 100_000),
    )
    .option('--network <Gbit/s>', `of Redis's machine, for --workers (default: ${usualNetwork})`, gigabits)
    .option('--json', 'print one JSON object and nothing else on stdout')
    .action(planCommand);
}

async function planCommand(
  config: string | undefined,
  { set, json, workers: count, network, ...options }: PlanCommandOptions,
): Promise<void> {
  if (network !== undefined && count === undefined) throw new UsageError('--network is for --workers');
  const report = await plan(await loadConfig(config, set), options);
  const workers =
    count === undefined ? undefined : planWorkers(report, { workers: count, gigabits: network ?? usualNetwork });
  const shown = { ...report, ...(workers && { workers }) };
  process.stdout.write(`${json ? JSON.stringify(shown, null, 2) : formatPlan(shown)}\n`);
  for (const warning of [...report.warnings, ...(workers?.warnings ?? [])]) warn(`! ${warning}`);
}

/** Parses a network's speed. */
function gigabits(text: string): number {
  const value = Number(text);
  if (!(value > 0 && Number.isFinite(value))) throw new InvalidArgumentError('Expected a number above 0: 10.');
  return value;
}

/** Parses two costs in TFLOP, `3.88,2.82`. */
function atomicCosts(text: string): AtomicCosts {
  const [network = Number.NaN, decode = Number.NaN, ...more] = text.split(',').map(Number);
  if (!(network > 0 && decode >= 0 && Number.isFinite(network + decode)) || more.length > 0)
    throw new InvalidArgumentError('Expected two numbers: 3.88,2.82.');
  return { network, decode };
}
