/** `winnow study`: the paper in miniature. */
import type { Command } from 'commander';
import { InterruptedError } from '../../finetune/errors.js';
import { formatSeconds } from '../../finetune/report/numbers.js';
import { experiments, runStudy, type StudyEvent, type StudyOptions } from '../../study/index.js';
import { wholeNumber } from '../arguments.js';
import { catchInterrupts } from '../interrupts.js';
import * as shared from '../options.js';
import { Reporter, type ReporterOptions } from '../reporter.js';

export function addStudy(program: Command): void {
  program
    .command('study')
    .description("run the paper's tables and figures in miniature; what is done already is not done again")
    .argument('[names...]', `experiments: ${experiments.map(({ name }) => name).join(', ')} (default: all)`)
    .option('--quick', 'tables 1 and 6 alone, 2 seeds, half the updates')
    .option('--seeds <number>', 'seeds of each method, from 0 on (default: 6)', wholeNumber(1))
    .option('--out <folder>', 'where runs go', 'runs/study')
    .option(
      '--results <folder>',
      'where results and the report go (default: bench/results/study; of a part, report below --out)',
    )
    .option(...shared.device)
    .option(...shared.json)
    .action(study);
}

async function study(
  names: readonly string[],
  options: ReporterOptions & Pick<StudyOptions, 'quick' | 'seeds' | 'out' | 'results' | 'device'>,
): Promise<void> {
  const reporter = new Reporter(options);
  const interruption = catchInterrupts(() =>
    reporter.hint('ending the run at hand and saving; press Ctrl-C again to end at once'),
  );
  try {
    for await (const event of runStudy({ ...options, names, signal: interruption.signal })) {
      tell(reporter, event);
      reporter.object({ ...event });
    }
  } catch (error) {
    // A run by itself would be gone on with by `winnow train`, which knows nothing of the study.
    if (!(error instanceof InterruptedError)) throw error;
    throw new InterruptedError(error.signal, 'stopped; the same command goes on where it was');
  } finally {
    reporter.clear();
    interruption.release();
  }
}

function tell(reporter: Reporter, event: StudyEvent): void {
  switch (event.kind) {
    case 'planned': {
      const { runs, left, seconds } = event;
      const time = left > 0 ? `, about ${formatSeconds(seconds)} on two quiet cores` : '';
      reporter.fact(`plan     ${runs} runs, ${left} of them to do${time}`);
      break;
    }
    case 'progress': {
      const { run, index, of, update, updates, secondsLeft } = event;
      reporter.status(
        `run ${index + 1} of ${of}  ${run}  update ${update} of ${updates}  ${formatSeconds(secondsLeft)} left of all`,
      );
      break;
    }
    case 'ran': {
      const { run, index, of, seconds, secondsLeft } = event;
      reporter.progress(
        `run      ${index} of ${of}  ${run}  ${formatSeconds(seconds)}, ${formatSeconds(secondsLeft)} left of all`,
      );
      break;
    }
    case 'timed':
      reporter.status(`clock  round ${event.round} of ${event.of}`);
      break;
    case 'warning':
      reporter.warn(event.message);
      break;
    case 'reported':
      for (const line of event.lines) reporter.result(line);
      for (const file of event.files) reporter.result(`look     ${file}`);
  }
}
