/**
 * What an update keeps of its rollouts, on the GPU: the latents before and after every step, the log probabilities of the
 * stored latents, and the prompts' conditions. Samples live in slots; a pruned sample's slot goes to one that is drawn
 * later, so that nothing that survives is ever moved, and memory is that of the survivors and of what groups drawn together
 * have besides.
 */
import { check } from '../../engine/errors.js';
import { assignRows, scope, type Tensor, tensor, zeros } from '../../engine/index.js';
import type { GenerativeModel } from '../model.js';

export class Trajectories {
  /** f32 [(steps + 1) slots, ...latent]: row `step * slots + slot` holds a sample's latents before that step. */
  readonly latents: Tensor;
  /** f32 [steps * slots]: log probabilities of the latents after each step, under the policy that drew them. */
  readonly logProbs: Tensor;
  /** The prompts' conditions, each [groups + 1, ...]; the last row is that of the empty prompt. */
  readonly conditions: readonly Tensor[];
  private free: number[] = [];

  /** Room for `slots` samples of `steps` steps, under `groups` prompts. */
  constructor(
    private readonly model: GenerativeModel,
    readonly size: { readonly slots: number; readonly steps: number; readonly groups: number },
  ) {
    const { device, latentShape } = model;
    const { slots, steps, groups } = size;
    this.latents = zeros(device, [(steps + 1) * slots, ...latentShape]);
    this.logProbs = zeros(device, [steps * slots]);
    const empty = model.encode(['']);
    this.conditions = empty.map(({ shape, dtype }) => zeros(device, [groups + 1, ...shape.slice(1)], dtype));
    this.place(groups, empty);
    this.clear();
  }

  /** Row of the empty prompt's condition. */
  get unconditional(): number {
    return this.size.groups;
  }

  /** Frees every slot. */
  clear(): void {
    this.free = Array.from({ length: this.size.slots }, (_, i) => i);
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

  /** Encodes the prompts of an update: row i is the condition of prompt i. */
  encode(prompts: readonly string[]): void {
    check(prompts.length <= this.size.groups, `trajectories: ${prompts.length} prompts, room for ${this.size.groups}`);
    for (let start = 0; start < prompts.length; start += encodedAtOnce) {
      this.place(start, this.model.encode(prompts.slice(start, start + encodedAtOnce)));
    }
  }

  /** Writes conditions over the rows from `first` on, and frees them. */
  private place(first: number, conditions: readonly Tensor[]): void {
    const { device } = this.model;
    scope(device, () => {
      for (const [i, rows] of conditions.entries()) {
        const ids = Array.from({ length: rows.shape[0]! }, (_, k) => first + k);
        assignRows(this.conditions[i]!, tensor(device, ids, undefined, 'u32'), rows);
      }
    });
    for (const rows of conditions) rows.dispose();
  }

  dispose(): void {
    for (const thing of [this.latents, this.logProbs, ...this.conditions]) thing.dispose();
  }
}

const encodedAtOnce = 16; // prompts; a T5-XXL's activations for more would outweigh the sampler's
