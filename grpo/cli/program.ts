/** The commands of `winnow`. Facts go to stdout, progress and warnings to stderr. */
import { Command, CommanderError } from 'commander';
import { version } from '../../engine/version.js';
import { diagnose, formatReport } from './doctor.js';
import { describeError, type ExitCode, exitCodeOf, exitCodes } from './exit_codes.js';

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
