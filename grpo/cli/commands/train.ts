/** `winnow train`: a new run, or one that goes on where it stopped. */
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { type Action, type Dashboard, startDashboard, usualPort, writeReport } from '../../dashboard/index.js';
import { usualPreset } from '../../finetune/config/file.js';
import { InterruptedError } from '../../finetune/errors.js';
import { linesOf, liveLine } from '../../finetune/report/run.js';
import { type RunConfigOptions, runConfig } from '../../finetune/run/run_config.js';
import { portNumber, seedNumber, wholeNumber } from '../arguments.js';
import { catchInterrupts } from '../interrupts.js';
import * as shared from '../options.js';
import { objectOf } from '../print/objects.js';
import { Reporter, type ReporterOptions } from '../reporter.js';

type TrainOptions = ReporterOptions &
  Pick<RunConfigOptions, 'set' | 'seed' | 'out' | 'name' | 'resume' | 'initLora' | 'device'> & {
    /** Updates in all. */
    readonly steps?: number;
    /** The port of the page; true: the usual one. */
    readonly dashboard?: number | true;
    /** No buttons on the page. */
    readonly readOnly?: boolean;
    /** Write report.html into the run's folder at its end. */
    readonly report?: boolean;
  };

export function addTrain(program: Command): void {
  program
    .command('train')
    .description('fine-tune a model by its rewards; Ctrl-C ends after the group at hand and saves')
    .argument('[config]', `a file, a preset or a run's folder (default: ${usualPreset})`)
    .option(...shared.set)
    .option('--steps <updates>', 'updates in all: train.updates', wholeNumber(0))
    .option('--seed <number>', 'of weights, noise and the order of prompts', seedNumber)
    .option('--out <folder>', 'where runs go', 'runs')
    .option('--name <name>', "the run's folder below that (default: date, configuration and seed)")
    .option('--resume <run>', 'go on with a run, by its folder or its name, from its last checkpoint')
    .option(
      '--init-lora <file>',
      'begin with this adapter: of a run, a checkpoint, or a file or folder of PEFT, diffusers or kohya',
    )
    .option(...shared.device)
    .option(...shared.json)
    .option('--dashboard [port]', `show the run at 127.0.0.1, port ${usualPort} or a free one`, portNumber)
    .option('--read-only', "no buttons on the dashboard's page")
    .option('--report', "write report.html into the run's folder when it is done")
    .option('--quiet', 'print the results alone')
    .action(train);
}

async function train(
  config: string | undefined,
  { steps, dashboard, readOnly, report, ...options }: TrainOptions,
): Promise<void> {
  const reporter = new Reporter(options);
  const interruption = catchInterrupts(() =>
    reporter.hint('ending after the group at hand and saving; press Ctrl-C again to end at once'),
  );
  const stop = new AbortController();
  const asked = new Set<'save' | 'sample'>();
  const act = (action: Action): void => {
    if (action === 'stop') stop.abort(new InterruptedError('SIGINT'));
    else asked.add(action);
  };
  let page: Dashboard | undefined;
  try {
    // Being told of each step costs a wait for it.
    const watching = { signal: AbortSignal.any([interruption.signal, stop.signal]), progress: reporter.live, asked };
    for await (const event of runConfig({ ...options, ...watching, config, updates: steps })) {
      if (event.kind === 'progress') reporter.status(liveLine(event));
      if (event.kind === 'done' && report) {
        const path = join(event.run, 'report.html'); // its files have this event already
        await writeReport([event.run], path);
        reporter.result(`report   ${path}`);
      }
      for (const line of linesOf(event)) reporter.line(line);
      if (event.kind === 'started' && dashboard !== undefined) {
        const port = dashboard === true ? usualPort : dashboard;
        const live = { folder: event.run, act };
        page = await startDashboard({ runs: [event.run, dirname(event.run)], port, readOnly, live });
        reporter.progress(`page     ${page.url}`);
      }
      const object = objectOf(event);
      if (object) reporter.object(object);
    }
  } finally {
    reporter.clear();
    await page?.close();
    interruption.release();
  }
}
