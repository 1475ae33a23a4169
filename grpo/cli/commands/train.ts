/** `winnow train`: a new run, or one that goes on where it stopped. */
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { type Action, type Dashboard, startDashboard, usualPort, writeReport } from '../../dashboard/index.js';
import { loadConfig, usualPreset } from '../../finetune/config/file.js';
import { openDevice } from '../../finetune/device.js';
import { InterruptedError, UsageError } from '../../finetune/errors.js';
import { linesOf, liveLine } from '../../finetune/report/run.js';
import { findRun } from '../../finetune/run/list.js';
import { type RunConfigOptions, runConfig } from '../../finetune/run/run_config.js';
import type { OpenSource } from '../../finetune/run/start.js';
import { refitTaste } from '../../finetune/taste/refit.js';
import { tasteTraining } from '../../finetune/taste/reward.js';
import { openRemoteRun } from '../../workers/trainer/remote_run.js';
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
    /** The folder of a taste, whose reward and CLIP score take the place of the configuration's rewards. */
    readonly taste?: string;
    /** The CLIP that the taste is fitted to. */
    readonly clip?: string;
    /** Although its votes do not agree with one another, or are on another model. */
    readonly force?: boolean;
    /** The address of a Redis whose workers draw; true: that of the environment. */
    readonly workers?: string | true;
    readonly redisCa?: string;
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
      '--taste <folder>',
      "learn a person's taste: of what winnow rate made, with the CLIP score, each by its deviation",
    )
    .option(
      '--clip <folder>',
      'the CLIP whose features the taste goes by (default: as it was fitted last; scenes-clip for models that ship)',
    )
    .option('--force', 'train by a taste whose votes do not agree with one another, or are on another model')
    .option(
      '--init-lora <file>',
      'begin with this adapter: of a run, a checkpoint, or a file or folder of PEFT, diffusers or kohya',
    )
    .option(...shared.device)
    .option(...shared.json)
    .option(
      '--workers [url]',
      'have the groups drawn by winnow worker, over Redis at redis://... (default: WINNOW_REDIS)',
    )
    .option('--redis-ca <file>', "the certificate behind the server's, for rediss://")
    .option('--dashboard [port]', `show the run at 127.0.0.1, port ${usualPort} or a free one`, portNumber)
    .option('--read-only', "no buttons on the dashboard's page")
    .option('--report', "write report.html into the run's folder when it is done")
    .option('--quiet', 'print the results alone')
    .action(train);
}

async function train(
  config: string | undefined,
  { steps, dashboard, readOnly, report, taste, clip, force, workers, redisCa, ...options }: TrainOptions,
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
    for (const [name, given] of Object.entries({ clip, force }))
      if (given !== undefined && taste === undefined) throw new UsageError(`--${name} is for --taste`);
    const learned = taste === undefined ? [] : await learnedBy(taste, config, { ...options, clip, force }, reporter);
    const set = [...learned, ...(options.set ?? [])];
    // Being told of each step costs a wait for it.
    const watching = { signal: AbortSignal.any([interruption.signal, stop.signal]), progress: reporter.live, asked };
    if (redisCa !== undefined && workers === undefined) throw new UsageError('--redis-ca is for --workers');
    const url = workers === true ? undefined : workers;
    const source: OpenSource | undefined =
      workers === undefined
        ? undefined
        : ({ session, ...given }) => openRemoteRun(session, { ...given, url, ca: redisCa });
    for await (const event of runConfig({ ...options, ...watching, set, config, updates: steps, source })) {
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

/** Changes of keys that have a run train by a taste, which is fitted first where votes came since. */
async function learnedBy(
  folder: string,
  config: string | undefined,
  { clip, force, resume, device, set = [] }: Pick<TrainOptions, 'clip' | 'force' | 'resume' | 'device' | 'set'>,
  reporter: Reporter,
): Promise<readonly string[]> {
  const run = resume === undefined ? undefined : await findRun(resume);
  const { model } = await loadConfig(config ?? run, set); // before the fit, which takes seconds
  const warn = (message: string): void => reporter.warn(message);
  if (await refitTaste(folder, () => openDevice({ device }), { clip, warn }))
    reporter.progress(`fitted the taste of ${folder} to its votes`);
  const { set: changes, messages } = await tasteTraining(folder, { model: model.path, force });
  for (const message of messages) reporter.progress(message);
  return changes;
}
