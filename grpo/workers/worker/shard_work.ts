/** One task of a run at a worker: groups are drawn, scored and thinned, and their gradient is summed. A pure function of the task. */
import { readTogether, writeTogether } from '../../../engine/index.js';
import { owning } from '../../../engine/owning.js';
import { thumbnail } from '../../../models/pictures/png.js';
import { type Evaluation, evaluate } from '../../evaluate.js';
import { withSampler } from '../../finetune/drawing.js';
import { thumbnailSize } from '../../finetune/track/previews.js';
import { lessonOf } from '../../learning/rows.js';
import type { DrawnGroup } from '../../rollout/group.js';
import type { Picture } from '../../rollout/pictures.js';
import type { ScoredPicture } from '../../rollout/rollout.js';
import { LocalShards } from '../../shards/local.js';
import { type LookTask, type Report, reportedGroup, type ShardTask, type Task } from '../messages.js';
import { type BlobRef, type Blobs, bytesOf, valuesOf } from '../redis/blobs.js';
import type { Outfit } from './outfit.js';

/** A blob that a task names is not in Redis, which has lost its data: the trainer hands the task out again. */
export class LostBlobError extends Error {
  override name = 'LostBlobError';
}

type Pictures = Report['pictures'];

/** The shards of one update that were drawn here, and lie in the store. */
interface Held {
  readonly key: string;
  readonly shards: Map<
    number,
    { readonly groups: readonly DrawnGroup[]; readonly pictures: Pictures; remembers: boolean }
  >;
}

export type Done = Omit<Report, 'task' | 'worker'>;

export class ShardWork {
  private weights = '';
  private held: Held = { key: '', shards: new Map() };
  private seconds = { draw: 0, learn: 0, move: 0 };

  private constructor(
    private readonly outfit: Outfit,
    private readonly shards: LocalShards,
    private readonly blobs: Blobs,
  ) {}

  /** Captures what shards need. `reference` are the values of the reference policy's copy, where the run has one. */
  static create(
    outfit: Outfit,
    { blobs, reference }: { readonly blobs: Blobs; readonly reference: BlobRef | null },
  ): Promise<ShardWork> {
    return owning(async (own) => {
      const { model, rewards, config } = outfit;
      const shards = own(await LocalShards.create(model, rewards, config, { apart: true }));
      const work = new ShardWork(outfit, shards, blobs);
      const copy = shards.reference?.copy;
      if (copy && reference) writeTogether([...copy.values()], await work.load(reference));
      return work;
    });
  }

  /** Does a task. Throws a RewardError, the signal's reason, or a LostBlobError. */
  async do(task: Task, signal: AbortSignal | undefined): Promise<Done> {
    this.seconds = { draw: 0, learn: 0, move: 0 };
    if (task.kind === 'look') return this.look(task, signal);
    const { groups, pictures } = await this.drawn(task, signal);
    const report = { costs: this.shards.costs, groups: groups.map(reportedGroup), ...(pictures && { pictures }) };
    const gradient = await this.gradient(task, groups);
    return { ...report, ...(gradient && { gradient }), seconds: this.seconds };
  }

  /** Draws pictures of an evaluation by the weights that it names. */
  private async look({ weights, jobs, scored, shown }: LookTask, signal: AbortSignal | undefined): Promise<Done> {
    await this.setWeights(weights);
    const start = performance.now();
    const { outfit } = this;
    const { scores, pictures } = await withSampler(
      outfit,
      jobs.length,
      async (sampler): Promise<{ scores?: Evaluation; pictures: Picture[] }> =>
        scored ? evaluate(sampler, outfit.reported, jobs, { signal }) : { pictures: await sampler.draw(jobs) },
    );
    this.seconds.draw += since(start);
    const kept = Object.fromEntries(Object.entries(scores ?? {}).map(([name, values]) => [name, [...values]]));
    const sizes = pictures.map(({ width, height, finite }) => ({ width, height, finite }));
    return {
      ...(scored && { scores: kept }),
      ...(shown && {
        shown: { bytes: await this.store(Buffer.concat(pictures.map(({ rgb }) => rgb))), pictures: sizes },
      }),
      seconds: this.seconds,
    };
  }

  /** The task's groups: those that lie here already, or drawn now by the weights that draw. */
  private async drawn({ update, first, prompts, drawn, ...task }: ShardTask, signal: AbortSignal | undefined) {
    const key = `${update} ${drawn.hash}`;
    if (this.held.key !== key) {
      this.held = { key, shards: new Map() };
      this.shards.follow(update);
    }
    const here = this.held.shards.get(first);
    if (here) return here;
    await this.setWeights(drawn);
    const start = performance.now();
    const shown: { step: number; pictures: readonly ScoredPicture[] }[] = [];
    const wanted = task.kind === 'draw' && task.pictures;
    const onPictures = (group: number, step: number, pictures: readonly ScoredPicture[]): void => {
      // No larger than they are kept.
      if (wanted && group === 0)
        shown.push({ step, pictures: pictures.map((each) => ({ ...each, ...thumbnail(each, thumbnailSize) })) });
    };
    try {
      const groups = await this.shards.drawGroups(first, prompts, { signal, onPictures });
      this.seconds.draw += since(start);
      const made = { groups, pictures: wanted ? await this.storePictures(shown) : undefined, remembers: false };
      this.held.shards.set(first, made);
      return made;
    } catch (error) {
      this.held = { key: '', shards: new Map() }; // what was claimed for its samples is free again with the next task
      throw error;
    }
  }

  private async gradient(task: ShardTask, groups: readonly DrawnGroup[]): Promise<BlobRef | undefined> {
    const { update, first } = task;
    const { shards } = this;
    const { config, model } = this.outfit;
    if (task.kind === 'learn') {
      const held = this.held.shards.get(first)!;
      if (task.kept.length > 0 && !held.remembers) {
        await this.setWeights(task.drawn);
        shards.remember(task.kept);
        held.remembers = true;
      }
      await this.setWeights(task.weights);
      return this.sum(() => shards.add(task.rows, task.total));
    }
    if (task.total === null) return undefined;
    await this.setWeights(task.drawn);
    const { total } = task;
    const [minibatch] = lessonOf(model, config, { update, groups, first }).minibatches;
    return this.sum(() => shards.add(minibatch!.rows, total));
  }

  /** What `add` sums up, stored. */
  private async sum(add: () => void): Promise<BlobRef> {
    const start = performance.now();
    const { tensors, gradients } = this.shards.sum;
    add();
    const values = [await readTogether(gradients), await readTogether(tensors.slice(gradients.length))];
    this.shards.clear();
    this.seconds.learn += since(start);
    return this.store(Buffer.concat(values.map(bytesOf)));
  }

  private async setWeights(ref: BlobRef): Promise<void> {
    if (this.weights === ref.hash) return;
    const values = await this.load(ref);
    writeTogether([...this.outfit.model.trainable.values()], values);
    this.weights = ref.hash;
  }

  private async load(ref: BlobRef): Promise<Float32Array> {
    const start = performance.now();
    const bytes = await this.blobs.get(ref);
    this.seconds.move += since(start);
    if (!bytes) throw new LostBlobError(`blob ${ref.hash} is gone`);
    return valuesOf(bytes);
  }

  private async store(bytes: Uint8Array): Promise<BlobRef> {
    const start = performance.now();
    const ref = await this.blobs.put(bytes);
    this.seconds.move += since(start);
    return ref;
  }

  private async storePictures(
    shown: readonly { step: number; pictures: readonly ScoredPicture[] }[],
  ): Promise<Pictures> {
    const bytes = await this.store(Buffer.concat(shown.flatMap(({ pictures }) => pictures.map(({ rgb }) => rgb))));
    const steps = shown.map(({ step, pictures }) => ({
      step,
      pictures: pictures.map(({ sample, reward, parts, width, height, finite }) => ({
        sample,
        reward,
        parts: { ...parts },
        width,
        height,
        finite,
      })),
    }));
    return { bytes, steps };
  }

  dispose(): void {
    this.shards.dispose();
  }
}

const since = (start: number): number => (performance.now() - start) / 1000;
