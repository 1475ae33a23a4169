/** A training: update after update, with evaluations, grids and checkpoints, told as a stream of events. */
import { messageOf } from '../../../engine/errors.js';
import { exists, writing } from '../../../engine/files.js';
import { listCheckpoints, pruneCheckpoints, writeCheckpoint } from '../../checkpoint.js';
import type { Evaluation } from '../../evaluate.js';
import type { Prompt } from '../../model.js';
import { drawProbe, type ProbeReport } from '../../probe.js';
import { promptsOfUpdate } from '../../prompt_order.js';
import { RewardError } from '../../rewards/reward.js';
import type { RolloutProgress } from '../../rollout/rollout.js';
import { pruneSteps, stagesOf } from '../../rollout/stages.js';
import type { Trainer } from '../../trainer.js';
import { finalRewards } from '../../update_report.js';
import { drawSamples, type Elsewhere, evaluateHeldOut } from '../drawing.js';
import { faultOfInput, InterruptedError } from '../errors.js';
import { resumption } from '../report/run.js';
import { type Session, weightsOf } from '../session.js';
import { GroupPictures } from '../track/previews.js';
import type { Beside } from '../workers/beside.js';
import type { ProgressEvent, RunEvent } from './events.js';
import type { RunFolder } from './folder.js';
import { TrainingSamples } from './grids.js';
import {
  addTotals,
  compareEvaluations,
  type EvaluationRecord,
  evaluationRecord,
  groupRecords,
  type RunTotals,
  totalsOf,
  type UpdateRecord,
  updateRecord,
} from './metrics.js';
import { Pace } from './pace.js';
import { told } from './told.js';

const evaluationSeed = 0; // the noise of every run's evaluations: runs of other seeds are compared on the same

export interface TrainingOptions {
  /** Ends the run in good order, by its reason: after the group at hand, with a checkpoint. */
  readonly signal?: AbortSignal | undefined;
  /** Tell of every step; each is waited for then. Default false. */
  readonly progress?: boolean | undefined;
  /** What somebody who watches asks for meanwhile: done after the update at hand, and taken out of the set. */
  readonly asked?: Set<'save' | 'sample'> | undefined;
}

/** What those who start a training give besides. */
export interface TrainingNotices {
  /** Sentences for a person that arise beside the training; each is told once, as a warning, and taken out. */
  readonly notices?: string[];
  /** Draws evaluations and grids in place of this device. */
  readonly elsewhere?: Elsewhere | undefined;
  /** Events that arise beside the training are told as they come. */
  readonly beside?: Beside | undefined;
}

/** What happens while a part of the training runs; what it returns is for the next part. */
type Events<R = void> = AsyncGenerator<RunEvent, R, undefined>;

/**
 * Trains to the end of `train.updates`, from where the trainer stands, into the run's folder: checkpoints and pictures; the
 * other files are written by those who hear the events (sinks.ts). On an error or an interruption the weights are saved where
 * they are those of the last update, the last event says what is left, and the error is thrown.
 */
export const training = (
  session: Session,
  trainer: Trainer,
  run: RunFolder,
  options: TrainingOptions & TrainingNotices = {},
): Events => new Training(session, trainer, run, options).events();

class Training {
  private readonly started = performance.now();
  private readonly secondsBefore: number;
  private readonly end = new AbortController();
  private readonly signal: AbortSignal;
  private saved: number | undefined;
  private warned: number;
  private readonly pace = new Pace();
  private totals: RunTotals = { calls: 0 };
  private readonly samples: TrainingSamples;

  constructor(
    private readonly session: Session,
    private readonly trainer: Trainer,
    private readonly run: RunFolder,
    private readonly options: TrainingOptions & TrainingNotices,
  ) {
    this.samples = new TrainingSamples(session, run);
    this.secondsBefore = run.info.seconds;
    this.warned = session.warnings.length;
    this.saved = trainer.updates > 0 ? trainer.updates : undefined;
    this.signal = options.signal ? AbortSignal.any([options.signal, this.end.signal]) : this.end.signal;
  }

  async *events(): Events {
    const { config } = this.session;
    try {
      yield* this.start();
      this.totals = totalsOf(await this.run.read<UpdateRecord>('metrics'));
      yield* this.look(await this.missed());
      while (this.trainer.updates < config.train.updates) {
        yield* this.update();
        const done = this.trainer.updates;
        const isLast = done === config.train.updates;
        const due = (every: number): boolean => every > 0 && done % every === 0;
        const asked = (what: 'save' | 'sample'): boolean => this.options.asked?.delete(what) ?? false;
        if (asked('save') || isLast || due(config.save.every)) yield* this.save();
        const grid = asked('sample') || due(config.sample.every);
        if (!isLast) yield* this.look({ evaluate: due(config.eval.every), grid });
      }
      yield* this.finish();
    } catch (error) {
      // What a check refuses before anything was learned lies in the configuration; later everything has passed once.
      throw yield* this.fail(this.pace.count === 0 ? faultOfInput(error) : error);
    }
  }

  private async *start(): Events {
    const { config, device, model } = this.session;
    const { info, features } = device;
    yield {
      kind: 'started',
      run: this.run.path,
      info: this.run.info,
      config,
      device: {
        description: info.description,
        software: info.software,
        f16: features.f16,
        subgroups: features.subgroupSize > 0,
      },
      pictureSize: model.pictureSize,
      weights: weightsOf(config),
    };
  }

  private async *update(): Events {
    const { trainer, options, signal, session } = this;
    const { config, prompts } = session;
    const chosen = promptsOfUpdate(prompts.train, config.grpo.groups_per_update, config.seed, trainer.updates);
    const probe = yield* this.probe(chosen[0]!);
    this.pace.begin();
    const pictures = config.save.previews > 0 ? new GroupPictures() : undefined;
    const report = yield* this.told((tell) =>
      trainer.update(chosen, { signal, onPictures: pictures?.take, ...(options.progress && { onProgress: tell }) }),
    );
    const seconds = this.pace.end();
    this.totals = addTotals(this.totals, report);
    const record = updateRecord(report, { seconds, lr: config.train.lr, totals: this.totals, probe });
    if (pictures) yield pictures.event(report); // first: a reader may leave after the update, which is then saved
    const { reward, counts } = report;
    yield {
      kind: 'update',
      update: trainer.updates,
      of: config.train.updates,
      reward,
      rewards: { all: report.groups.flatMap(({ first }) => first), kept: finalRewards(report.groups).flat() },
      record,
      groups: groupRecords(report, session.rewards.versions),
      counts,
      seconds: this.seconds(),
    };
    yield* this.newWarnings();
    if (record.frac_reward_zero_std === 1)
      yield* warning(`update ${record.update}: all rewards of each group are equal; nothing was learned from it`);
    if (!Number.isFinite(record.grad_norm))
      yield* warning(`update ${record.update}: a gradient was not finite; its step was left out`);
  }

  /** Draws the first group of the coming update without pruning, where that is asked for and something is pruned. */
  private async *probe(prompt: Prompt): Events<ProbeReport | undefined> {
    const { trainer, signal, options } = this;
    const { config, model, rewards } = this.session;
    const { probe_every: every } = config.eval;
    const update = trainer.updates + 1;
    if (every === 0 || update % every !== 0 || pruneSteps(stagesOf(config)).length === 0) return undefined;
    const probe = yield* this.told((tell) => {
      const onStep = (drawn: RolloutProgress): void => tell({ phase: 'sampling', groups: 1, ...drawn });
      const given = { prompt, update: trainer.updates, signal, ...(options.progress && { onStep }) };
      return drawProbe(model, rewards, config, given);
    });
    yield { kind: 'probe', update, probe };
    return probe;
  }

  /** What rewards and trackers warn of while the run goes on. */
  private async *newWarnings(): Events {
    while (this.warned < this.session.warnings.length) yield* warning(this.session.warnings[this.warned++]!);
    const { notices = [] } = this.options;
    while (notices.length > 0) yield* warning(notices.shift()!);
  }

  /** Evaluates and draws what is asked for, with the averages in place of the weights where there are some. */
  private async *look(what: { readonly evaluate: boolean; readonly grid: boolean }): Events<Evaluation | undefined> {
    if (!what.evaluate && !what.grid) return undefined;
    const { trainer, session, signal } = this;
    const update = trainer.updates;
    const of = session.config.train.updates;
    const progress = (phase: 'drawing' | 'evaluating', tell: (at: ProgressEvent['at']) => void) => ({
      signal,
      elsewhere: this.options.elsewhere,
      ...(this.options.progress && { onProgress: (done: number, all: number) => tell({ phase, done, of: all }) }),
    });
    if (what.grid) {
      const rows = yield* this.told((tell) =>
        trainer.withAverages(() => drawSamples(session, progress('drawing', tell))),
      );
      yield { kind: 'pictures', update, path: await this.samples.write(rows, update), rows };
    }
    if (!what.evaluate) return undefined;
    const start = performance.now();
    const scores = yield* this.told((tell) =>
      trainer.withAverages(() => evaluateHeldOut(session, { seed: evaluationSeed, ...progress('evaluating', tell) })),
    );
    this.pace.evaluated((performance.now() - start) / 1000);
    yield* this.newWarnings();
    const { rewards } = evaluationRecord(update, evaluationSeed, scores);
    yield { kind: 'evaluation', update, of, seed: evaluationSeed, rewards, scores, weights: weightsOf(session.config) };
    return scores;
  }

  /** Writes a checkpoint of the updates done, if there is none yet, and deletes old ones. */
  private async *save(): Events {
    const { trainer, run, session } = this;
    const update = trainer.updates;
    if (this.saved === update) return;
    const path = run.checkpoint(update);
    await writing(path, () => writeCheckpoint(path, trainer.state, session.config));
    this.saved = update;
    await writing(run.checkpoints, () => pruneCheckpoints(run.checkpoints, session.config.save.keep));
    yield { kind: 'checkpoint', update, path };
  }

  private async *finish(): Events {
    const { trainer, run } = this;
    const { updates } = trainer;
    const before: Evaluation = (await this.evaluationAfter(0))?.scores ?? {};
    const known = (await this.evaluationAfter(updates))?.scores; // where a run was ended after its last evaluation
    const after = (yield* this.look({ evaluate: !known, grid: true })) ?? known!;
    const beforeAfter = await this.samples.compare(updates);
    if (beforeAfter.warning) yield* warning(beforeAfter.warning);
    const rewards = compareEvaluations(before, after);
    if (!('reward' in rewards))
      yield* warning('eval.n is not what it was at the start of the run: before and after can not be compared');
    const [first] = await run.read<UpdateRecord>('metrics');
    const spread = first?.['spread/all'] ?? 0; // that of groups as the model drew them before
    yield {
      kind: 'done',
      run: run.path,
      updates,
      seconds: this.seconds(),
      rewards,
      deviation: spread > 0 ? spread : undefined,
      samples: [run.sample(0), run.sample(updates), ...(beforeAfter.path ? [beforeAfter.path] : [])],
      weights: weightsOf(this.session.config),
      adapter: this.session.model.lora !== null,
    };
  }

  /**
   * What is due where the trainer stands and is not there: all of it before the first update; of a run that goes on what it was
   * ended before or in, after its checkpoint.
   */
  private async missed(): Promise<{ readonly evaluate: boolean; readonly grid: boolean }> {
    if ((await this.evaluationAfter(0)) === undefined) return { evaluate: true, grid: true };
    const { updates } = this.trainer;
    const { train, eval: evaluation, sample } = this.session.config;
    const due = (every: number): boolean => every > 0 && updates > 0 && updates % every === 0;
    if (updates === train.updates) return { evaluate: false, grid: false }; // the end looks for itself
    return {
      evaluate: due(evaluation.every) && (await this.evaluationAfter(updates)) === undefined,
      grid: due(sample.every) && !(await exists(this.run.sample(updates))),
    };
  }

  private async evaluationAfter(updates: number): Promise<EvaluationRecord | undefined> {
    return (await this.run.read<EvaluationRecord>('evaluations')).findLast(({ update }) => update === updates);
  }

  /** Saves what can be saved and says what is left; the error to throw. */
  private async *fail(error: unknown): Events<unknown> {
    const { trainer, run } = this;
    const interrupted = error instanceof InterruptedError;
    // These leave the weights as the last update left them; of others nobody knows.
    if (interrupted || error instanceof RewardError) {
      try {
        yield* this.save();
      } catch (failure) {
        yield* warning(messageOf(failure));
      }
    }
    const { updates } = trainer;
    const checkpoint = (await listCheckpoints(run.checkpoints)).at(-1);
    const status = interrupted ? 'interrupted' : 'failed';
    yield { kind: 'failed', run: run.path, status, error, updates, seconds: this.seconds(), checkpoint };
    if (!interrupted) return error;
    return new InterruptedError(
      error.signal,
      `stopped after update ${updates}; ${resumption({ run: run.path, checkpoint })}`,
    );
  }

  /** Runs a part of the training and tells where it stands; a reader who stops reading ends it. */
  private async *told<R>(body: (tell: (at: ProgressEvent['at']) => void) => Promise<R>): Events<R> {
    const { train, grpo, sampler } = this.session.config;
    const about = {
      kind: 'progress' as const,
      update: this.trainer.updates,
      of: train.updates,
      groupSize: grpo.keep[0]!,
      steps: sampler.steps,
    };
    return yield* told<RunEvent, R>(
      async (tell) => {
        const stop = this.options.beside?.listen(tell);
        try {
          return await body((at) => tell({ ...about, secondsLeft: this.secondsLeft(), at }));
        } finally {
          stop?.();
        }
      },
      () => this.end.abort(new InterruptedError('SIGINT')),
    );
  }

  private seconds(): number {
    return this.secondsBefore + (performance.now() - this.started) / 1000;
  }

  /** Until the run's end. */
  private secondsLeft(): number | undefined {
    const { train, eval: evaluation } = this.session.config;
    const done = this.trainer.updates;
    const periodic =
      evaluation.every > 0
        ? Math.floor((train.updates - 1) / evaluation.every) - Math.floor(done / evaluation.every)
        : 0;
    return this.pace.left({ updates: train.updates - done, evaluations: Math.max(0, periodic) + 1 });
  }
}

async function* warning(message: string): Events {
  yield { kind: 'warning', message };
}
