/** Where an update's groups are drawn and its gradients computed: on this device (local.ts), or on others. */
import type { AtomicCosts } from '../cost.js';
import type { GradientSum } from '../learning/gradient_sum.js';
import type { Reference } from '../learning/reference.js';
import type { Minibatch } from '../learning/rows.js';
import type { Prompt } from '../model.js';
import type { GroupResult } from '../rollout/group.js';
import type { RolloutEvents } from '../rollout/rollout.js';

/** Takes the sum of one shard after the other. */
export interface Adder {
  /** Adds what stands in the source's `sum`, which begins anew. */
  collect(): void;
  /** Forgets all that was added. */
  clear(): void;
}

export interface ShardSource {
  /** Holds the sum of one shard at a time. */
  readonly sum: GradientSum;
  /** Where there is a divergence, what it is from. */
  readonly reference: Reference | undefined;
  /** Arithmetic of one sample's network call and of one decode in FLOP; known once groups were drawn. */
  readonly costs: AtomicCosts;
  /**
   * Draws a group of each prompt of the update by the weights as they are. Throws a RewardError or the signal's reason; what
   * is learned is as before then, but for what `adder` has: a source may add gradients of the first optimizer step already.
   */
  draw(
    update: number,
    prompts: readonly Prompt[],
    events: RolloutEvents,
    adder: Adder,
  ): Promise<readonly GroupResult[]>;
  /** Takes the rows of the update's optimizer steps, before the first of them. */
  begin(minibatches: readonly Minibatch[], signal: AbortSignal | undefined): Promise<void> | void;
  /**
   * Sums the gradients of an optimizer step by the weights as they are: each shard's into `sum`, of which `adder` collects it,
   * in order.
   */
  differentiate(step: number, adder: Adder, signal: AbortSignal | undefined): Promise<void> | void;
  dispose(): void;
}
