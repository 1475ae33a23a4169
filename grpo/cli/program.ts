/** The commands of `winnow`. Facts go to stdout, progress and warnings to stderr. */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { version } from '../../engine/version.js';
import type { AtomicCosts } from '../cost.js';
import { loadConfig, presetNames, readPreset, usualPreset } from '../finetune/config/file.js';
import { commentedConfig, jsonSchema } from '../finetune/config/format.js';
import { tune } from '../finetune/device.js';
import { type PlanOptions, plan } from '../finetune/plan/plan.js';
import { collect, positive, wholeNumber } from './arguments.js';
import { diagnose, formatReport } from './commands/doctor.js';
import { type PretrainOptions, pretrain, pretrainable } from './commands/pretrain.js';
import { addRunCommands } from './commands/run_commands.js';
import { type SampleOptions, sample } from './commands/sample.js';
import { describeError, type ExitCode, exitCodeOf, exitCodes } from './exit_codes.js';
import { formatPlan } from './print/plan.js';

const warn = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

async function doctor({ json = false }: { json?: boolean }): Promise<ExitCode> {
  const { report, error } = await diagnose();
  const printed = error ? { ...report, error: error.message } : report;
  process.stdout.write(`${json ? JSON.stringify(printed, null, 2) : formatReport(report)}\n`);
  for (const warning of report.warnings) warn(`! ${warning}`);
  if (error) throw error;
  return report.device?.checks.every(({ ok }) => ok) ? exitCodes.done : exitCodes.bug;
}

/** Parses two costs in TFLOP, `3.88,2.82`. */
function atomicCosts(text: string): AtomicCosts {
  const [network = Number.NaN, decode = Number.NaN, ...more] = text.split(',').map(Number);
  if (!(network > 0 && decode >= 0) || more.length > 0)
    throw new InvalidArgumentError('Expected two numbers: 3.88,2.82.');
  return { network, decode };
}

/** Each command hands its status to `finish`. */
function makeProgram(finish: (code: ExitCode) => void): Command {
  const program = new Command('winnow')
    .description('Fine-tuning of diffusion and flow models by Pro-GRPO, on WebGPU')
    .version(version)
    .exitOverride();
  program
    .command('doctor')
    .description(
      'show Node, adapter, driver, limits and features, check a kernel against the CPU and measure the peaks',
    )
    .option('--json', 'print one JSON object and nothing else on stdout')
    .action(async (options) => finish(await doctor(options)));
  program
    .command('tune')
    .description('measure which kernels are the fastest on this adapter, and use them from now on')
    .option('--device <name>', "part of an adapter's name")
    .action(async (options: { device?: string }) => {
      for (const line of await tune(options)) process.stdout.write(`${line}\n`);
      finish(exitCodes.done);
    });
  program
    .command('sample')
    .description(
      "make pictures from prompts with a model folder in diffusers' layout, or with what a run has made of it",
    )
    .argument('<model>', 'a folder (Stable Diffusion 1.x, 3.x, or a DiT), an embedded model, a configuration or a run')
    .option('--prompt <text>', 'a prompt; may be given again', collect)
    .option('--prompts <file>', 'a file of prompts, .txt or .jsonl')
    .option('--n <count>', 'pictures for each prompt', wholeNumber(1), 1)
    .option('--seed <number>', 'seed of the first picture; each next has one more', wholeNumber(0), 0)
    .option('--steps <count>', "sampling steps (default: 28, or those of the run's evaluations)", wholeNumber(1))
    .option(
      '--guidance <scale>',
      "classifier-free guidance; 1 is none (default: 7.5 for SD 1, 4.5 for SD 3, 4 for DiT, or that of the run's evaluations)",
      positive,
    )
    .option('--ode', 'deterministic steps (default, but for a run whose evaluations have sampler.eval_noise)')
    .option('--sde', "steps with noise, as in rollouts: the run's, or flow-sde with 0.7 and DDIM with eta 1")
    .option('--batch <count>', 'pictures computed at once', wholeNumber(1), 4)
    .option('--lora <file>', 'an adapter: a file or folder of PEFT or diffusers')
    .option('--step <updates>', 'of a run: the checkpoint after so many updates (default: the last)', wholeNumber(0))
    .option('--base', 'of a run: the model as it was before')
    .option('--out <folder>', 'where the pictures go, 0000.png and on', 'samples')
    .option('--grid <file>', 'write one PNG with all pictures instead')
    .option('--device <name>', "part of an adapter's name")
    .action(async (folder: string, options: SampleOptions) => {
      for (const path of await sample(folder, options)) process.stdout.write(`${path}\n`);
      finish(exitCodes.done);
    });
  program
    .command('init')
    .description('print a commented configuration to begin with: winnow init scenes-flow > my.yaml')
    .argument('<preset>', presetNames().join(', '))
    .action(async (preset: string) => {
      process.stdout.write(commentedConfig(await readPreset(preset)));
      finish(exitCodes.done);
    });
  program
    .command('schema')
    .description('print the JSON schema of configurations, by which editors complete and check them')
    .action(async () => {
      process.stdout.write(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
      finish(exitCodes.done);
    });
  program
    .command('plan')
    .description('show what a run will compute, keep in memory and cost against the full group; nothing is trained')
    .argument('[config]', `a file, a preset or a run's folder (default: ${usualPreset})`)
    .option('--set <key=value>', 'change a key, such as grpo.keep=[24,16,12]; may be given again', collect)
    .option('--costs <call,decode>', 'TFLOP of a network call and of a decode with its reward', atomicCosts)
    .option('--probe', 'load the model, count its arithmetic, and measure time and memory by running each part')
    .option('--device <name>', "part of an adapter's name, for --probe")
    .option('--json', 'print one JSON object and nothing else on stdout')
    .action(async (config: string | undefined, options: PlanOptions & { set?: string[]; json?: boolean }) => {
      const report = await plan(await loadConfig(config, options.set), options);
      process.stdout.write(`${options.json ? JSON.stringify(report, null, 2) : formatPlan(report)}\n`);
      for (const warning of report.warnings) warn(`! ${warning}`);
      finish(exitCodes.done);
    });
  addRunCommands(program, finish);
  program
    .command('pretrain')
    .description('train the small models that ship, or one of them, on scenes, from random weights')
    .argument('<model>', `all, or one of ${pretrainable.join(', ')}; those that it is made of lie beside its folder`)
    .option('--steps <count>', "optimizer steps (default: the model's own)", wholeNumber(1))
    .option('--seed <number>', 'seed of weights, scenes and noise', wholeNumber(0), 1)
    .option('--batch <count>', "pictures a step (default: the model's own)", wholeNumber(1))
    .option('--resume', 'go on from the checkpoint in the folder')
    .requiredOption('--out <folder>', "the model folder to write; of all, the folder of the models' folders")
    .option('--device <name>', "part of an adapter's name")
    .action(async (model: string, options: PretrainOptions) => {
      for (const line of await pretrain(model, options)) process.stdout.write(`${line}\n`);
      finish(exitCodes.done);
    });
  return program;
}

/** Runs a command line (without node and script) and returns the exit status. */
export async function runProgram(args: readonly string[]): Promise<number> {
  let status: number = exitCodes.done;
  const program = makeProgram((code) => {
    status = code;
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return status;
  } catch (error) {
    // Commander has printed the help, the version or what is wrong with the arguments.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    warn(describeError(error));
    return exitCodeOf(error);
  }
}
