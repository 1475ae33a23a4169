/** The commands that make runs and work on them: train, eval, export, inspect, runs. */
import type { Command } from 'commander';
import { usualPreset } from '../../finetune/config/file.js';
import { type ExportOptions, exportRun } from '../../finetune/export/export.js';
import { listRuns } from '../../finetune/run/folder.js';
import { collect, names, oneOf, wholeNumber } from '../arguments.js';
import { type ExitCode, exitCodes } from '../exit_codes.js';
import { formatRuns } from '../print/runs.js';
import { type EvalOptions, evaluateCommand } from './eval.js';
import { type InspectOptions, inspect } from './inspect.js';
import { type TrainOptions, train } from './train.js';

const json = ['--json', 'print JSON objects, one a line, and nothing else on stdout'] as const;
const device = ['--device <name>', "part of an adapter's name"] as const;
const set = ['--set <key=value>', 'change a key, such as grpo.keep=[24,16,12]; may be given again', collect] as const;
const step = ['--step <updates>', 'the checkpoint after so many updates (default: the last)', wholeNumber(0)] as const;

/** Adds the commands; each hands its status to `finish`. */
export function addRunCommands(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('train')
    .description('fine-tune a model by its rewards; Ctrl-C ends after the group at hand and saves')
    .argument('[config]', `a file, a preset or a run's folder (default: ${usualPreset})`)
    .option(...set)
    .option('--steps <updates>', 'updates in all: train.updates', wholeNumber(0))
    .option('--seed <number>', 'of weights, noise and the order of prompts', wholeNumber(0))
    .option('--out <folder>', 'where runs go', 'runs')
    .option('--name <name>', "the run's folder below that (default: date, configuration and seed)")
    .option('--resume <run>', 'go on with a run, by its folder or its name, from its last checkpoint')
    .option('--init-lora <file>', 'begin with this adapter: a file or folder of PEFT or diffusers')
    .option(...device)
    .option(...json)
    .option('--quiet', 'print the results alone')
    .action(async (config: string | undefined, options: TrainOptions) => {
      await train(config, options);
      finish(exitCodes.done);
    });
  program
    .command('eval')
    .description('score held-out pictures by every reward, without and with what a run has learned')
    .argument('<run>', 'a run, or a configuration or preset for the model alone')
    .option(...set)
    .option('--n <count>', 'pictures (default: eval.n)', wholeNumber(1))
    .option('--seed <number>', 'of the noise, the same for all that is compared', wholeNumber(0), 0)
    .option('--rewards <names>', 'rewards to report besides, instead of eval.rewards: brightness,color', names)
    .option(...step)
    .option('--lora <file>', 'the adapter to judge, with a configuration')
    .option('--against <run>', 'another run instead of the model it began with')
    .option('--min <name=value>', 'end with status 9 where a mean is below; may be given again', collect)
    .option(...device)
    .option(...json)
    .action(async (run: string, options: EvalOptions) => finish(await evaluateCommand(run, options)));
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
    .option(...step)
    .option('--ema', 'the moving averages instead of the weights')
    .option('--dtype <type>', 'f32 or f16', oneOf<ExportOptions['dtype']>('f32', 'f16'), 'f32')
    .option('--out <folder>', "where it goes (default: export/<format> in the run's folder)")
    .option(...device)
    .action(async (run: string, options: ExportOptions) => {
      process.stdout.write(`${await exportRun(run, options)}\n`);
      finish(exitCodes.done);
    });
  program
    .command('inspect')
    .description(
      'draw one full group and show how rewards spread in it, in a uniform half and in the half that OVF keeps',
    )
    .argument('[run]', `a run, a configuration or a preset (default: ${usualPreset})`)
    .option(...set)
    .option('--prompt <text>', 'the prompt (default: the first test prompt)')
    .option('--n <count>', 'size of the group (default: the configured one)', wholeNumber(2))
    .option('--keep <count>', 'how many a selection keeps (default: half)', wholeNumber(1))
    .option('--seed <number>', "of the group's noise (default: the configured one)", wholeNumber(0))
    .option(...step)
    .option('--out <file>', 'the PNG', 'inspect.png')
    .option(...device)
    .option(...json)
    .action(async (run: string | undefined, options: InspectOptions) => {
      await inspect(run, options);
      finish(exitCodes.done);
    });
  program
    .command('runs')
    .description('list runs')
    .option('--out <folder>', 'where they are', 'runs')
    .option(...json)
    .action(async (options: { readonly out: string; readonly json?: boolean }) => {
      const runs = await listRuns(options.out);
      const lines = options.json
        ? runs.map(({ folder, info }) => JSON.stringify({ folder, ...info }))
        : formatRuns(options.out, runs);
      for (const line of lines) process.stdout.write(`${line}\n`);
      finish(exitCodes.done);
    });
}
