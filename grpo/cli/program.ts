/** The commands of `winnow`. Facts go to stdout, progress and warnings to stderr. */
import { Command, CommanderError } from 'commander';
import { version } from '../../engine/version.js';
import { exitCodeOf, exitCodes } from '../finetune/exit_codes.js';
import { addConfigurations } from './commands/configurations.js';
import { addEval } from './commands/eval.js';
import { addExport } from './commands/export.js';
import { addInspect } from './commands/inspect.js';
import { addDoctor } from './commands/machines/doctor.js';
import { addTune } from './commands/machines/tune.js';
import { addWorker } from './commands/machines/worker.js';
import { addPlan } from './commands/plan.js';
import { addPretrain } from './commands/pretrain.js';
import { addRate } from './commands/rate.js';
import { addReport } from './commands/report.js';
import { addRuns } from './commands/runs.js';
import { addSample } from './commands/sample.js';
import { addStudy } from './commands/study.js';
import { addTrain } from './commands/train.js';
import { addWatch } from './commands/watch.js';
import { describeError } from './describe_error.js';
import type { Finish } from './finish.js';
import { warn } from './reporter.js';

/** In the order of the help. */
const commands: readonly ((program: Command, finish: Finish) => void)[] = [
  addDoctor,
  addTune,
  addSample,
  addConfigurations,
  addPlan,
  addRate,
  addTrain,
  addWorker,
  addEval,
  addExport,
  addInspect,
  addRuns,
  addWatch,
  addReport,
  addStudy,
  addPretrain,
];

/** Runs a command line (without node and script) and returns the exit status. */
export async function runProgram(args: readonly string[]): Promise<number> {
  let status: number = exitCodes.done;
  const program = new Command('winnow')
    .description('Fine-tuning of diffusion and flow models by Pro-GRPO, on WebGPU')
    .version(version)
    .exitOverride();
  for (const add of commands)
    add(program, (code) => {
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
