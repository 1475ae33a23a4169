/**
 * Shards on other machines: the trainer hands out the weights and the groups of an update, and takes rewards and sums of gradients
 * in. Where nothing depends on all groups together a worker differentiates a shard as soon as it has drawn it; where something
 * does (a deviation of all rewards, several optimizer steps a rollout, a lost picture) it is asked again, and whoever drew the
 * shard has it still.
 */
import { readTogether, writeTogether } from '../../../engine/index.js';
import { owning } from '../../../engine/owning.js';
import type { RunConfig } from '../../config.js';
import type { AtomicCosts } from '../../cost.js';
import type { LoadedModel } from '../../finetune/policy.js';
import { GradientSum } from '../../learning/gradient_sum.js';
import { checkLoss, keepsPredictions, trainedRowCount } from '../../learning/losses.js';
import { type Reference, referenceOf } from '../../learning/reference.js';
import { measuresOf } from '../../learning/report.js';
import type { Minibatch } from '../../learning/rows.js';
import type { Prompt } from '../../model.js';
import type { GroupResult } from '../../rollout/group.js';
import type { RolloutEvents } from '../../rollout/rollout.js';
import { stagesOf, survivorsOf } from '../../rollout/stages.js';
import { rowsIn, type Shard, shardsOf } from '../../shards/shards.js';
import type { Adder, ShardSource } from '../../shards/source.js';
import { type Report, type Task, toldPrompt } from '../messages.js';
import { type BlobRef, type Blobs, bytesOf, valuesOf } from '../redis/blobs.js';
import { orAborted } from '../redis/connection.js';
import { Adding } from './adding.js';
import { type Dispatch, type DispatchEvents, type Named, named } from './dispatch.js';
import { picturesOf } from './pictures.js';

/** What the shards of one update are at. */
interface Update {
  readonly number: number;
  readonly run: string;
  readonly shards: readonly Shard[];
  readonly prompts: readonly Prompt[];
  readonly drawn: BlobRef;
  /** The weights that its tasks name, to be handed out again. */
  readonly weights: Uint8Array[];
  /** Rows that make the mean by the tasks of drawing; null where those do not differentiate. */
  readonly total: number | null;
  readonly tasks: readonly Named[];
  reports: readonly Report[];
  /** Adds the sums of the optimizer step at hand; from the start those of drawing, where these have some. */
  adding: Adding<Report> | undefined;
  minibatches: readonly Minibatch[];
}

export interface RemoteOptions {
  readonly dispatch: Dispatch;
  readonly blobs: Blobs;
  readonly onWorkers: DispatchEvents['onWorkers'];
  /** Called before each update and each look; gives the run's hash. */
  readonly prepare: () => Promise<string>;
}

export class RemoteShards implements ShardSource {
  private update: Update | undefined;
  /** What stands in Redis for this update alone, besides its tasks of drawing. */
  private readonly passing = { tasks: [] as Named[], blobs: [] as BlobRef[] };
  private known: AtomicCosts = { network: 0, decode: 0 };

  private constructor(
    private readonly model: LoadedModel,
    private readonly config: RunConfig,
    readonly sum: GradientSum,
    readonly reference: Reference | undefined,
    private readonly options: RemoteOptions,
  ) {}

  /** Throws a CheckError for a configuration that makes no sense. */
  static create(model: LoadedModel, config: RunConfig, options: RemoteOptions): RemoteShards {
    return owning((own) => {
      checkLoss(config, model.kind);
      const reference = referenceOf(model, config.grpo);
      if (reference) own(reference);
      const sum = GradientSum.create(model, measuresOf(config.grpo).averages.length);
      return new RemoteShards(model, config, sum, reference, options);
    });
  }

  get costs(): AtomicCosts {
    return this.known;
  }

  async draw(
    number: number,
    prompts: readonly Prompt[],
    events: RolloutEvents,
    adder: Adder,
  ): Promise<readonly GroupResult[]> {
    try {
      return await orAborted(this.drawing(number, prompts, events, adder), events.signal);
    } catch (error) {
      this.update?.adding?.stop();
      throw error;
    }
  }

  private async drawing(
    number: number,
    prompts: readonly Prompt[],
    events: RolloutEvents,
    adder: Adder,
  ): Promise<readonly GroupResult[]> {
    const { config, options } = this;
    const run = await options.prepare();
    await this.forget();
    const weights = [await readWeights(this.model)];
    const drawn = await options.blobs.put(weights[0]!);
    const shards = shardsOf(prompts.length, config.workers.shards);
    const total = this.knownTotal(prompts.length);
    const tasks = shards.map(({ first, end }) =>
      named({
        kind: 'draw',
        run,
        update: number,
        first,
        prompts: prompts.slice(first, end).map(toldPrompt),
        drawn,
        total,
        pictures: first === 0 && events.onPictures !== undefined,
      }),
    );
    const adding = total === null ? undefined : this.adding(tasks, adder, events.signal);
    this.update = { number, run, shards, prompts, drawn, weights, total, tasks, adding, reports: [], minibatches: [] };
    let done = 0;
    const { steps } = config.sampler;
    const alive = survivorsOf(stagesOf(config));
    const onReport = (report: Report): void => {
      adding?.arrive(
        tasks.findIndex(({ hash }) => hash === report.task),
        report,
      );
      const { groups = [] } = report;
      const first = done;
      done += groups.length;
      events.onStep?.({ group: first, together: groups.length, step: steps, alive, taken: done * steps });
    };
    const reports = await this.run(tasks, events.signal, onReport);
    this.update.reports = reports;
    this.known = reports[0]!.costs ?? this.known;
    const groups = reports.flatMap((report, shard) => this.groupsOf(report, shards[shard]!));
    await this.showPictures(reports[0]!, prompts[0]!, events);
    return groups;
  }

  /** The rows of an update, where they are known before it: all pictures are finite, and one optimizer step takes all. */
  private knownTotal(groups: number): number | null {
    const { grpo } = this.config;
    if (grpo.global_std || grpo.updates_per_rollout > 1) return null;
    return groups * survivorsOf(stagesOf(this.config)) * trainedRowCount(this.config);
  }

  private groupsOf({ worker, groups = [] }: Report, { first, end }: Shard): GroupResult[] {
    const { prompts } = this.update!;
    if (groups.length !== end - first)
      throw new Error(`worker ${worker}: ${groups.length} groups, expected ${end - first}`);
    return groups.map((group, g) => ({ ...group, prompt: prompts[first + g]! }) as GroupResult); // a schema's optional keys
  }

  private async showPictures({ pictures }: Report, prompt: Prompt, { onPictures }: RolloutEvents): Promise<void> {
    if (!pictures || !onPictures) return;
    const bytes = await this.options.blobs.get(pictures.bytes);
    this.passing.blobs.push(pictures.bytes);
    if (!bytes) return; // lost with the server's data: they are shown, and nothing is computed by them
    for (const { step, shown } of picturesOf(pictures.steps, bytes, prompt)) onPictures(0, step, shown);
  }

  begin(minibatches: readonly Minibatch[]): void {
    this.update!.minibatches = minibatches;
  }

  async differentiate(step: number, adder: Adder, signal: AbortSignal | undefined): Promise<void> {
    try {
      await orAborted(this.differentiating(step, adder, signal), signal);
    } catch (error) {
      this.update?.adding?.stop();
      throw error;
    }
  }

  private async differentiating(step: number, adder: Adder, signal: AbortSignal | undefined): Promise<void> {
    const update = this.update!;
    const [only] = update.minibatches;
    const isDone = update.adding && update.minibatches.length === 1 && update.total === only!.total;
    if (!isDone) {
      // What was added while it was drawn is of another mean.
      update.adding?.stop();
      adder.clear();
      const tasks = await this.learningTasks(step);
      update.adding = this.adding(tasks, adder, signal);
      update.reports = await this.run(tasks, signal);
    }
    for (const [shard, report] of update.reports.entries()) update.adding!.arrive(shard, report);
    await update.adding!.finish();
  }

  /** Adds the sums that come of tasks, in order. */
  private adding(tasks: readonly Named[], adder: Adder, signal: AbortSignal | undefined): Adding<Report> {
    const width = this.sum.tensors.reduce((size, each) => size + each.size, 0);
    const load = async (report: Report): Promise<Float32Array> => {
      const values = await this.load(tasks.find(({ hash }) => hash === report.task)!, report, signal);
      if (values.length === width) return values;
      throw new Error(`worker ${report.worker}: a gradient of ${values.length} values, expected ${width}`);
    };
    return new Adding(tasks.length, load, (values) => {
      this.write(values);
      adder.collect();
    });
  }

  private write(values: Float32Array): void {
    const { gradients, averages, deviation } = this.sum;
    const size = values.length - averages.size - deviation.size;
    writeTogether(gradients, values.subarray(0, size));
    averages.write(values.subarray(size, size + averages.size));
    deviation.write(values.subarray(size + averages.size));
  }

  /** Tasks that differentiate an optimizer step by the weights as they are, for the workers that have the shards. */
  private async learningTasks(step: number): Promise<readonly Named[]> {
    const { number, run, shards, prompts, drawn, reports, minibatches } = this.update!;
    const { config } = this;
    const weights = step === 0 ? drawn : await this.publishStep();
    const { rows, total } = minibatches[step]!;
    const all = keepsPredictions(config.grpo) ? minibatches.flatMap((each) => each.rows) : [];
    const tasks = shards.map((own, shard) => {
      const { first, end } = own;
      const task: Task = {
        kind: 'learn',
        run,
        update: number,
        first,
        prompts: prompts.slice(first, end).map(toldPrompt),
        drawn,
        weights,
        rows: rowsIn(own, rows),
        total,
        kept: rowsIn(own, all),
      };
      return named(task, reports[shard]!.worker);
    });
    this.passing.tasks.push(...tasks);
    return tasks;
  }

  private run(
    tasks: readonly Named[],
    signal: AbortSignal | undefined,
    onReport?: (report: Report) => void,
  ): Promise<Report[]> {
    const { dispatch, onWorkers, blobs } = this.options;
    const restore = async (): Promise<void> => {
      for (const bytes of this.update!.weights) await blobs.put(bytes);
    };
    return dispatch.run(tasks, { onWorkers, onReport, restore, signal });
  }

  /** A shard's sums. Where they are gone with the server's data, the task is done again. */
  private async load(task: Named, given: Report, signal: AbortSignal | undefined): Promise<Float32Array> {
    let report = given;
    while (true) {
      const ref = report.gradient;
      const bytes = ref && (await this.options.blobs.get(ref));
      if (ref && bytes) {
        this.passing.blobs.push(ref);
        return valuesOf(bytes);
      }
      await this.options.dispatch.forget([task]);
      [report] = (await this.run([task], signal)) as [Report];
    }
  }

  /** The weights after an optimizer step, beside those that drew. */
  private async publishStep(): Promise<BlobRef> {
    const { weights } = this.update!;
    weights.splice(1, 1, await readWeights(this.model));
    const ref = await this.options.blobs.put(weights[1]!);
    this.passing.blobs.push(ref);
    return ref;
  }

  /** Takes away what stands in Redis for the last update. */
  private async forget(): Promise<void> {
    const { update, passing, options } = this;
    if (!update) return;
    this.update = undefined;
    await options.dispatch.forget([...update.tasks, ...passing.tasks.splice(0)]);
    await options.blobs.delete([update.drawn, ...passing.blobs.splice(0)]);
  }

  dispose(): void {
    this.reference?.dispose();
    this.sum.dispose();
  }
}

/** The bytes of what learns, as it is. */
export const readWeights = async ({ trainable }: Pick<LoadedModel, 'trainable'>): Promise<Uint8Array> =>
  bytesOf(await readTogether([...trainable.values()]));
