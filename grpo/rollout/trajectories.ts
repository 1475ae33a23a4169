/**
 * What an update keeps of its rollouts, on the GPU: the latents before and after every step with the log probabilities of the
 * stored latents, or the final latents alone, and the prompts' conditions. Samples live in slots; a pruned sample's slot goes to one that is drawn
 * later, so that nothing that survives is ever moved, and memory is that of the survivors and of what groups drawn together
 * have besides.
 */
import { check } from '../../engine/errors.js';
import { assignRows, scope, type Tensor, tensor, zeros } from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import type { GenerativeModel } from '../model.js';
import type { Transition } from '../sampling/transitions.js';

export interface TrajectoryOptions {
  /** Samples that are kept at one time. */
  readonly slots: number;
  /** Prompts whose conditions are kept. */
  readonly groups: number;
  /** The steps that trajectories take until follow() names others: the rollout draws and the learner learns by them. */
  readonly transitions: readonly Transition[];
  /** The whole path with its log probabilities, or where it ends. Default path. */
  readonly keeps?: 'path' | 'ends';
  /** Keep what every step of a path took for the prediction, too. Default false. */
  readonly predictions?: boolean;
}

export class Trajectories {
  private free: number[] = [];
  private path: readonly Transition[];

  private constructor(
    private readonly model: GenerativeModel,
    readonly options: TrajectoryOptions,
    /**
     * f32 [(steps + 1) slots, ...latent]: row `row(step, slot)` holds a sample's latents before that step. Of ends f32
     * [slots, ...latent], the latents that a sample has come to.
     */
    readonly latents: Tensor,
    /**
     * f32 [steps slots]: row `row(step, slot)` is the log probability of a sample's latents after that step, when drawn. Of ends
     * [1], and nobody's.
     */
    readonly logProbs: Tensor,
    /** f32 [steps slots, ...latent], where they are kept: row `row(step, slot)` is what that step took for the prediction. */
    readonly predictions: Tensor | undefined,
    /** The prompts' conditions, each [groups + 1, ...]; the last row is that of the empty prompt, or the negative one. */
    readonly conditions: readonly Tensor[],
  ) {
    this.path = options.transitions;
    this.clear();
  }

  /** Makes room, and encodes the empty prompt. */
  static create(model: GenerativeModel, options: TrajectoryOptions): Trajectories {
    const { device, latentShape } = model;
    const { slots, groups, transitions, keeps = 'path' } = options;
    return owning((own) => {
      const steps = keeps === 'path' ? transitions.length : 0;
      const latents = own(zeros(device, [(steps + 1) * slots, ...latentShape]));
      const logProbs = own(zeros(device, [Math.max(1, steps * slots)]));
      const predictions = options.predictions ? own(zeros(device, [steps * slots, ...latentShape])) : undefined;
      const conditions = scope(device, () => {
        const empty = model.encode([model.negativePrompt ?? '']);
        const rows = empty.map(({ shape, dtype }) => zeros(device, [groups + 1, ...shape.slice(1)], dtype));
        place(rows, groups, empty);
        return rows;
      });
      return new Trajectories(model, options, latents, logProbs, predictions, conditions);
    });
  }

  /** The steps that every trajectory takes. */
  get transitions(): readonly Transition[] {
    return this.path;
  }

  /**
   * Has the trajectories of the next rollout take other steps, as many and clipped alike. Steps are data of what was captured:
   * nothing is captured again.
   */
  follow(transitions: readonly Transition[]): void {
    const isAlike = ({ clip }: Transition, i: number): boolean => clip?.range === this.path[i]?.clip?.range;
    check(
      transitions.length === this.path.length && transitions.every(isAlike),
      `trajectories: expected ${this.path.length} steps that clip as before, found ${transitions.length}`,
    );
    this.path = transitions;
  }

  /** Whether every step's latents are kept, or the last ones alone. */
  get keepsPath(): boolean {
    return this.options.keeps !== 'ends';
  }

  /** Row of the empty prompt's condition. */
  get unconditional(): number {
    return this.options.groups;
  }

  /**
   * The row of a sample's latents before a step, 0 to the number of steps; its row after the step is `slots` further. Where ends
   * alone are kept, a sample has one row.
   */
  row(step: number, slot: number): number {
    return this.keepsPath ? step * this.options.slots + slot : slot;
  }

  /** Frees every slot. */
  clear(): void {
    this.free = Array.from({ length: this.options.slots }, (_, i) => i);
  }

  /** Slots for `count` new samples. */
  claim(count: number): number[] {
    check(count <= this.free.length, `trajectories: ${count} samples for ${this.free.length} free slots`);
    return this.free.splice(0, count);
  }

  /** Gives slots back; what they hold is lost. */
  release(slots: readonly number[]): void {
    this.free.push(...slots);
  }

  /** Encodes the prompts of groups: the rows from `first` on are their conditions. */
  encode(prompts: readonly string[], first = 0): void {
    const { model, options } = this;
    const rows = first + prompts.length;
    check(rows <= options.groups, `trajectories: ${rows} prompts, room for ${options.groups}`);
    for (let start = 0; start < prompts.length; start += encodedAtOnce) {
      scope(model.device, () => {
        place(this.conditions, first + start, model.encode(prompts.slice(start, start + encodedAtOnce)));
      });
    }
  }

  dispose(): void {
    for (const thing of [this.latents, this.logProbs, this.predictions, ...this.conditions]) thing?.dispose();
  }
}

/** Writes conditions over the rows of others, from row `first` on. */
function place(conditions: readonly Tensor[], first: number, encoded: readonly Tensor[]): void {
  for (const [i, rows] of encoded.entries()) {
    const ids = Array.from({ length: rows.shape[0]! }, (_, k) => first + k);
    assignRows(conditions[i]!, tensor(rows.device, ids, undefined, 'u32'), rows);
  }
}

const encodedAtOnce = 16; // prompts; a T5-XXL's activations for more would outweigh the sampler's
