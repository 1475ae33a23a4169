/** `winnow eval`: every reward on held-out prompts, before and after. */
import type { Command } from 'commander';
import { exitCodes } from '../../finetune/exit_codes.js';
import { type Judgement, type JudgeOptions, judge } from '../../finetune/judge.js';
import { formatReward } from '../../finetune/report/numbers.js';
import { resultTable, rewardLabel, shownRewards } from '../../finetune/report/results.js';
import { collect, mostPictures, names, seedNumber, wholeNumber } from '../arguments.js';
import type { Finish } from '../finish.js';
import * as shared from '../options.js';
import { Reporter, type ReporterOptions } from '../reporter.js';

export function addEval(program: Command, finish: Finish): void {
  program
    .command('eval')
    .description('score held-out pictures by every reward, without and with what a run has learned')
    .argument('<run>', 'a run, or a configuration or preset for the model alone')
    .option(...shared.set)
    .option('--n <count>', 'pictures (default: eval.n)', wholeNumber(1, mostPictures))
    .option('--seed <number>', 'of the noise, the same for all that is compared', seedNumber, 0)
    .option('--rewards <names>', 'rewards to report besides, instead of eval.rewards: brightness,color', names)
    .option(...shared.step)
    .option('--lora <file>', 'the adapter to judge, with a configuration')
    .option('--against <run>', 'another run instead of the model it began with')
    .option('--min <name=value>', 'end with status 9 where a mean is below; may be given again', collect)
    .option(...shared.device)
    .option(...shared.json)
    .action(async (run: string, options: JudgeOptions & ReporterOptions) => {
      const reporter = new Reporter(options);
      const onProgress: JudgeOptions['onProgress'] = (what, done, of) =>
        reporter.status(`evaluating ${what}  picture ${done}/${of}`);
      try {
        const { weights, warnings, ...report } = await judge(run, { ...options, onProgress });
        reporter.clear();
        for (const warning of warnings) reporter.warn(warning);
        reporter.object({ ...report });
        for (const line of formatEvaluation({ ...report, weights })) reporter.result(line);
        for (const { reward, least } of report.missed)
          reporter.warn(
            `reward ${reward} is ${formatReward(report.rewards[reward]!.mean)}, expected at least ${least}`,
          );
        if (report.missed.length > 0) finish(exitCodes.belowMinimum);
      } finally {
        reporter.clear();
      }
    });
}

/** A line a reward. */
export function formatEvaluation({ rewards, differences, weights }: Omit<Judgement, 'warnings'>): string[] {
  if (differences) {
    const [{ n = 0 } = {}] = Object.values(differences);
    return [`${n} held-out pictures before and after:`, ...resultTable(differences, weights)];
  }
  return shownRewards(rewards, weights).map(([name, { mean, low, high, count }]) => {
    const interval = `95 % interval: ${formatReward(low)} to ${formatReward(high)}`;
    return `${rewardLabel(name, weights)} ${formatReward(mean)} on ${count} held-out pictures (${interval})`;
  });
}
