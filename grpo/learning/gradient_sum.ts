/**
 * What the rows of one shard sum up to: the gradients of what learns, and the averages that a loss reports. Machines hand on these
 * sums as they are; whoever takes the optimizer's step adds them shard by shard, in order (optimizer_step.ts).
 */
import {
  accumulate,
  assign,
  backward,
  capture,
  concat,
  maximum,
  noGrad,
  reshape,
  type Step,
  type Tensor,
  zeros,
  zerosTogether,
} from '../../engine/index.js';
import { type Own, owning } from '../../engine/owning.js';
import { wholeOf } from '../../engine/tensor/together.js';
import type { GenerativeModel } from '../model.js';

/** The share of a micro-batch in an update's loss. */
export interface MicroBatchLoss<Average extends string> {
  /** A scalar, as all that follow. */
  readonly loss: Tensor;
  /** Averages that add up over micro-batches. */
  readonly terms: Readonly<Record<Average, Tensor>>;
  /** The largest departure from the policy that sampled, of all rows. */
  readonly deviation: Tensor;
}

type Learning = Pick<GenerativeModel, 'device' | 'trainable'>;

export class GradientSum {
  private constructor(
    /** f32, one for each tensor that learns, in their order. */
    readonly gradients: readonly Tensor[],
    /** f32 [averages]: sums of the loss's averages. */
    readonly averages: Tensor,
    /** f32 [1]: the largest departure from the policy that sampled. */
    readonly deviation: Tensor,
  ) {}

  /** Zeros for what learns of `model`, and for so many averages. */
  static create({ device, trainable }: Learning, averages: number): GradientSum {
    return owning((own) => {
      const shapes = [...trainable.values()].map(({ shape }) => shape);
      const gradients = zerosTogether(device, shapes)?.map(own) ?? shapes.map((shape) => own(zeros(device, shape)));
      return new GradientSum(gradients, own(zeros(device, [averages])), own(zeros(device, [1])));
    });
  }

  /** All of it: the gradients, the averages, the deviation. */
  get tensors(): readonly Tensor[] {
    return [...this.gradients, this.averages, this.deviation];
  }

  /** The gradients by what one dispatch reaches: all that lie together, or each. */
  private get units(): readonly Tensor[] {
    const whole = wholeOf(this.gradients);
    return whole ? [whole] : this.gradients;
  }

  /** Adds another sum to this one; the larger deviation counts. To be captured. */
  add(other: GradientSum): void {
    const others = other.units;
    for (const [i, unit] of this.units.entries()) accumulate(unit, others[i]!);
    noGrad(() => {
      accumulate(this.averages, other.averages);
      assign(this.deviation, maximum(this.deviation, other.deviation));
    });
  }

  /** Sets all of it to 0. To be captured. */
  clear(): void {
    for (const each of [...this.units, this.averages, this.deviation]) assign(each, zeros(each.device, each.shape));
  }

  dispose(): void {
    for (const each of this.tensors) each.dispose();
  }
}

/** Sums micro-batches, whose loss is captured once. */
export class Differentiation {
  private constructor(
    readonly sum: GradientSum,
    private readonly rows: number,
    private readonly steps: Readonly<Record<'accumulate' | 'clear', Step<void>>>,
  ) {}

  /** Captures the gradients of `loss`, which reads a micro-batch of so many rows that has been written before. */
  static create<Average extends string>(
    model: Learning,
    averages: readonly Average[],
    rows: number,
    loss: () => MicroBatchLoss<Average>,
  ): Promise<Differentiation> {
    const { device, trainable } = model;
    const parameters = [...trainable.values()];
    return owning(async (own: Own) => {
      const sum = own(GradientSum.create(model, averages.length));
      const accumulateStep = own(
        await capture(device, () => {
          const { loss: value, terms, deviation } = loss();
          for (const [i, gradient] of backward(value, parameters).entries()) accumulate(sum.gradients[i]!, gradient);
          noGrad(() => {
            const values = averages.map((name) => reshape(terms[name], [1]));
            accumulate(sum.averages, concat(values, 0));
            assign(sum.deviation, maximum(sum.deviation, reshape(deviation, [1])));
          });
        }),
      );
      const clear = await capture(device, () => sum.clear());
      return new Differentiation(sum, rows, { accumulate: accumulateStep, clear });
    });
  }

  /**
   * Adds the gradients of the rows' mean loss, where `total` rows make the mean: those left out count as rows of loss 0. `write`
   * is given a micro-batch and the share of each of its rows.
   */
  add<Row>(
    rows: readonly Row[],
    total: number,
    write: (batch: readonly Row[], shares: readonly number[]) => void,
  ): void {
    for (const { batch, own } of microBatches(rows, this.rows)) {
      const shares = batch.map((_, i) => (i < own ? 1 / total : 0));
      write(batch, shares);
      this.steps.accumulate.run();
    }
  }

  /** Begins a sum anew. */
  clear(): void {
    this.steps.clear.run();
  }

  dispose(): void {
    for (const each of [this.sum, ...Object.values(this.steps)]) each.dispose();
  }
}

/** Rows in micro-batches of one size; the last is filled up with its first row. `own` of each are no filling. */
export function microBatches<Row>(rows: readonly Row[], size: number): { batch: Row[]; own: number }[] {
  return Array.from({ length: Math.ceil(rows.length / size) }, (_, b) => {
    const start = b * size;
    const batch = Array.from({ length: size }, (_, i) => rows[start + i] ?? rows[start]!);
    return { batch, own: Math.min(size, rows.length - start) };
  });
}
