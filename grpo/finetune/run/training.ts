/** A training under way: update after update into a run's folder, with evaluations, grids, checkpoints and its end. */
import { basename } from 'node:path';
import { writing } from '../../../engine/files.js';
import type { GridRow } from '../../../models/pictures/grid.js';
import { listCheckpoints, pruneCheckpoints, writeCheckpoint } from '../../checkpoint.js';
import { exitCodeOf } from '../../cli/exit_codes.js';
import { doneLines, evaluationRow, headLines, statusLine, tableHead, tableRow } from '../../cli/print/train.js';
import type { Reporter } from '../../cli/reporter.js';
import type { Evaluation } from '../../evaluate.js';
import { promptsOfUpdate } from '../../prompt_order.js';
import { RewardError } from '../../rewards/reward.js';
import type { Trainer } from '../../trainer.js';
import { InterruptedError } from '../errors.js';
import { type DrawingOptions, drawSamples, evaluateHeldOut } from '../held_out.js';
import { type Session, weightsOf } from '../session.js';
import type { RunDirectory } from './folder.js';
import { readGrid, writeBeforeAfter, writeGrid } from './grids.js';
import {
  compareEvaluations,
  type EvaluationRecord,
  evaluationRecord,
  groupRecords,
  type UpdateRecord,
  updateRecord,
} from './metrics.js';

const evaluationSeed = 0; // the noise of every run's evaluations: runs of other seeds are compared on the same

export class TrainingRun {
  private readonly started = performance.now();
  private readonly secondsBefore: number;
  private saved: number | undefined;
  private readonly pace: number[] = [];
  /** The samples drawn before the first update and last. */
  private samples: { before?: readonly GridRow[]; last?: readonly GridRow[] } = {};

  constructor(
    private readonly session: Session,
    private readonly trainer: Trainer,
    private readonly run: RunDirectory,
    private readonly reporter: Reporter,
    private readonly signal: AbortSignal,
  ) {
    this.secondsBefore = run.info.seconds;
    this.saved = trainer.updates > 0 ? trainer.updates : undefined;
    reporter.log = (line) => run.log(line);
  }

  /** Trains to the end. On an error, run.json and the terminal say what is left; the error is thrown on. */
  async train(): Promise<void> {
    const { config } = this.session;
    try {
      for (const line of headLines(this.run, this.session)) this.reporter.fact(line);
      if (this.session.device.info.software)
        this.reporter.warn('this adapter is a CPU: fine for the embedded models, not for Stable Diffusion');
      this.reporter.object({ event: 'run', run: this.run.folder, config, model: this.run.info.model });
      this.reporter.fact(tableHead());
      if ((await this.evaluationAfter(0)) === undefined) await this.look({ evaluate: true, grid: true });
      while (this.trainer.updates < config.train.updates) {
        await this.update();
        const done = this.trainer.updates;
        const isLast = done === config.train.updates;
        const due = (every: number): boolean => every > 0 && done % every === 0;
        if (isLast || due(config.save.every)) await this.save();
        if (!isLast) await this.look({ evaluate: due(config.eval.every), grid: due(config.sample.every) });
      }
      await this.finish();
    } catch (error) {
      throw await this.fail(error);
    }
  }

  private async update(): Promise<void> {
    const { config, prompts } = this.session;
    const { trainer, run, reporter, signal } = this;
    const { updates: of, lr } = config.train;
    const start = performance.now();
    const left = this.secondsLeft();
    const view = { update: trainer.updates, of, keep: config.grpo.keep[0]!, steps: config.sampler.steps };
    const chosen = promptsOfUpdate(prompts.train, config.grpo.groups_per_update, config.seed, trainer.updates);
    const report = await trainer.update(chosen, {
      signal,
      // Being told of each step costs a wait for it.
      ...(reporter.live && {
        onProgress: (progress) => reporter.status(statusLine(progress, { ...view, secondsLeft: left })),
      }),
    });
    const seconds = (performance.now() - start) / 1000;
    this.pace.push(seconds);
    const record = updateRecord(report, { seconds, lr });
    await run.append('groups', groupRecords(report));
    await run.append('metrics', [record]);
    const { calls, decodes, trained } = run.info.totals;
    await run.change({
      updates: trainer.updates,
      seconds: this.seconds(),
      totals: {
        calls: calls + report.counts.calls,
        decodes: decodes + report.counts.decodes,
        trained: trained + report.counts.trained,
      },
    });
    reporter.fact(tableRow(record, of));
    reporter.object({ event: 'update', ...record });
    this.warnOf(record);
  }

  private warnOf(record: UpdateRecord): void {
    if (record.frac_reward_zero_std === 1)
      this.reporter.warn(`update ${record.update}: all rewards of each group are equal; nothing was learned from it`);
    if (!Number.isFinite(record.grad_norm))
      this.reporter.warn(`update ${record.update}: a gradient was not finite; its step was left out`);
  }

  /** Evaluates and draws what is asked for, with the averages in place of the weights where there are some. */
  private async look(what: {
    readonly evaluate: boolean;
    readonly grid: boolean;
  }): Promise<EvaluationRecord | undefined> {
    if (!what.evaluate && !what.grid) return undefined;
    const { trainer, run, reporter, session } = this;
    const done = trainer.updates;
    const of = session.config.train.updates;
    return trainer.withAverages(async () => {
      if (what.grid) {
        const rows = await drawSamples(session, this.drawing('drawing'));
        await writeGrid(session, run.sample(done), rows, done);
        this.samples = { ...(done === 0 ? { before: rows } : this.samples), last: rows };
        reporter.progress(`${' '.repeat(11)}drawn ${run.sample(done)}`);
      }
      if (!what.evaluate) return undefined;
      const scores = await evaluateHeldOut(session, { seed: evaluationSeed, ...this.drawing('evaluating') });
      const record = evaluationRecord(done, evaluationSeed, scores);
      await run.append('evaluations', [record]);
      reporter.fact(evaluationRow(done, of, record.rewards, weightsOf(session.config)));
      reporter.object({ event: 'evaluation', update: done, rewards: record.rewards });
      return record;
    });
  }

  private drawing(what: string): DrawingOptions {
    const { reporter, signal } = this;
    return { signal, onProgress: (done, of) => reporter.status(`${' '.repeat(11)}[${what}  picture ${done}/${of}]`) };
  }

  /** Writes a checkpoint of the updates done, if there is none yet, and deletes old ones. */
  private async save(): Promise<void> {
    const { trainer, run, session } = this;
    const done = trainer.updates;
    if (this.saved === done) return;
    const path = run.checkpoint(done);
    await writing(path, () => writeCheckpoint(path, trainer.state, session.config));
    this.saved = done;
    await writing(run.checkpoints, () => pruneCheckpoints(run.checkpoints, session.config.save.keep));
    this.reporter.progress(`${' '.repeat(11)}saved ${path}`);
    this.reporter.object({ event: 'checkpoint', update: done, path });
  }

  private async finish(): Promise<void> {
    const { trainer, run, reporter, session } = this;
    const { updates } = trainer;
    const before: Evaluation = (await this.evaluationAfter(0))?.scores ?? {};
    const known = await this.evaluationAfter(updates); // where a run was ended after its last evaluation
    const after = (await this.look({ evaluate: !known, grid: true })) ?? known!;
    const beforeAfter = await this.compareSamples();
    const rewards = compareEvaluations(before, after.scores);
    if (!('reward' in rewards))
      reporter.warn('eval.n is not what it was at the start of the run: before and after can not be compared');
    const seconds = this.seconds();
    await run.change({ status: 'done', seconds, rewards, exit: { code: 0, reason: 'done' } });
    const [first] = (await run.read('metrics')) as UpdateRecord[];
    const spread = first?.['spread/all'] ?? 0; // that of groups as the model drew them before
    const deviation = spread > 0 ? spread : undefined;
    for (const line of doneLines(updates, seconds, rewards, weightsOf(session.config), deviation))
      reporter.result(line);
    const last = run.sample(updates);
    reporter.hint(`look  ${beforeAfter ?? `${run.sample(0)}${updates > 0 ? ` and ${basename(last)}` : ''}`}`);
    reporter.hint(`next  winnow export ${run.folder}${session.model.lora ? ' --format diffusers' : ''}`);
    const samples = [run.sample(0), last, ...(beforeAfter ? [beforeAfter] : [])];
    reporter.object({ event: 'done', run: run.folder, updates, seconds, rewards, samples });
  }

  /** Puts the samples before and after on one picture; undefined where nothing was learned or those before are gone. */
  private async compareSamples(): Promise<string | undefined> {
    const { session, run, trainer } = this;
    const { last } = this.samples;
    if (trainer.updates === 0 || !last) return undefined;
    const before = this.samples.before ?? (await readGrid(session, run.sample(0), 0)); // drawn before a resumption
    if (!before) {
      this.reporter.warn(`${run.sample(0)} is gone, or of other prompts, seeds or size: there is no before and after`);
      return undefined;
    }
    await writeBeforeAfter(session, run.beforeAfter, before, last, trainer.updates);
    return run.beforeAfter;
  }

  private async evaluationAfter(updates: number): Promise<EvaluationRecord | undefined> {
    const all = (await this.run.read('evaluations')) as EvaluationRecord[]; // as look() writes them
    return all.findLast(({ update }) => update === updates);
  }

  /** Saves what can be saved, says where it is, and gives the error to throw. */
  private async fail(error: unknown): Promise<unknown> {
    const { trainer, run, reporter } = this;
    const interrupted = error instanceof InterruptedError;
    reporter.log = (line) => {
      try {
        run.log(line);
      } catch {
        // What can't be written may be the reason for ending.
      }
    };
    // These leave the weights as the last update left them; of others nobody knows.
    if (interrupted || error instanceof RewardError)
      await this.save().catch((failure) => reporter.warn(messageOf(failure)));
    const last = (await listCheckpoints(run.checkpoints)).at(-1);
    const resume = last ? `go on with: winnow train --resume ${run.folder}` : 'there is no checkpoint yet';
    const reported = interrupted
      ? new InterruptedError(error.signal, `stopped after update ${trainer.updates}; ${resume}`)
      : error;
    await run
      .change({
        status: interrupted ? 'interrupted' : 'failed',
        seconds: this.seconds(),
        exit: { code: exitCodeOf(error), reason: messageOf(error) },
      })
      .catch(() => {}); // the disk may be what failed
    if (!interrupted) {
      reporter.clear();
      reporter.warn(
        last ? `the last checkpoint is ${last}; ${resume}` : `stopped after update ${trainer.updates}; ${resume}`,
      );
    }
    return reported;
  }

  private seconds(): number {
    return this.secondsBefore + (performance.now() - this.started) / 1000;
  }

  /** Until the last update, by the pace of the last ones. */
  private secondsLeft(): number | undefined {
    const recent = this.pace.slice(-5);
    if (recent.length === 0) return undefined;
    const mean = recent.reduce((sum, value) => sum + value, 0) / recent.length;
    return mean * (this.session.config.train.updates - this.trainer.updates);
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
