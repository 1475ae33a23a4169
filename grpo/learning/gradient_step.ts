/**
 * What every loss shares: gradients gathered in place over micro-batches, then one clipped AdamW step with the moving average.
 * Both halves are captured once and replayed.
 */
import { check } from '../../engine/errors.js';
import {
  AdamW,
  accumulate,
  assign,
  backward,
  capture,
  concat,
  type Device,
  EMA,
  emaDecay,
  maximum,
  noGrad,
  reshape,
  type Step,
  type Tensor,
  zeros,
  zerosTogether,
} from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import type { TrainConfig } from '../config.js';
import type { GenerativeModel } from '../model.js';

/** The optimizer's keys. */
export type OptimizerOptions = Pick<
  TrainConfig,
  'micro_batch' | 'lr' | 'weight_decay' | 'betas' | 'eps' | 'grad_norm' | 'ema'
>;

/** The share of a micro-batch in an update's loss. */
export interface MicroBatchLoss<Average extends string> {
  /** A scalar, as all that follow. */
  readonly loss: Tensor;
  /** Averages that add up over micro-batches. */
  readonly terms: Readonly<Record<Average, Tensor>>;
  /** The largest departure from the policy that sampled, of all rows. */
  readonly deviation: Tensor;
}

export interface GradientStepOptions<Average extends string> {
  readonly train: OptimizerOptions;
  /** Names of the terms, in the order in which they stand in one tensor. */
  readonly averages: readonly Average[];
  /** The loss of the micro-batch whose inputs have been written; called once, to be captured. */
  readonly loss: () => MicroBatchLoss<Average>;
}

export class GradientStep<Average extends string> {
  private constructor(
    readonly optimizer: AdamW,
    readonly ema: EMA | undefined,
    private readonly train: OptimizerOptions,
    private readonly averages: readonly Average[],
    private readonly sums: Tensor,
    private readonly deviation: Tensor,
    private readonly gradients: readonly Tensor[],
    private readonly accumulateStep: Step<void>,
    private readonly applyStep: Step<void>,
  ) {}

  /** Captures both halves for what learns of `model`. */
  static create<Average extends string>(
    model: Pick<GenerativeModel, 'device' | 'trainable'>,
    { train, averages, loss: lossOf }: GradientStepOptions<Average>,
  ): Promise<GradientStep<Average>> {
    const { device, trainable } = model;
    return owning(async (own) => {
      const parameters = [...trainable.values()];
      const optimizer = own(whole(device, () => optimizerOf(parameters, train)));
      const ema = train.ema > 0 ? own(whole(device, () => new EMA(parameters, { decay: train.ema }))) : undefined;
      const shapes = parameters.map(({ shape }) => shape);
      const gradients = zerosTogether(device, shapes)?.map(own) ?? shapes.map((shape) => own(zeros(device, shape)));
      const [sums, deviation] = [own(zeros(device, [averages.length])), own(zeros(device, [1]))];
      const accumulateStep = own(
        await capture(device, () => {
          const { loss, terms, deviation: found } = lossOf();
          for (const [i, gradient] of backward(loss, parameters).entries()) accumulate(gradients[i]!, gradient);
          noGrad(() => {
            const values = averages.map((name) => reshape(terms[name], [1]));
            accumulate(sums, concat(values, 0));
            assign(deviation, maximum(deviation, reshape(found, [1])));
          });
        }),
      );
      const applyStep = await capture(device, () => {
        optimizer.step(gradients);
        ema?.update();
        for (const each of [...gradients, sums, deviation]) assign(each, zeros(device, each.shape));
      });
      return new GradientStep(optimizer, ema, train, averages, sums, deviation, gradients, accumulateStep, applyStep);
    });
  }

  /**
   * Adds the gradients of the rows' mean loss, where `total` rows make the mean: those left out count as rows of loss 0. `write`
   * is given a micro-batch and the share of each of its rows. The losses `policyLoss` and `kl` are averages over all rows,
   * the others over those that were computed.
   */
  async accumulate<Row>(
    rows: readonly Row[],
    total: number,
    write: (batch: readonly Row[], shares: readonly number[]) => void,
  ): Promise<Record<Average | 'deviation', number>> {
    for (const { batch, own } of microBatches(rows, this.train.micro_batch)) {
      write(
        batch,
        batch.map((_, i) => (i < own ? 1 / total : 0)),
      );
      this.accumulateStep.run();
    }
    const values = await this.sums.data();
    const others = total / Math.max(1, rows.length); // what has no loss without being computed still has a ratio
    const share = (name: Average): number => (name === 'policyLoss' || name === 'kl' ? 1 : others);
    const report = this.averages.map((name, i) => [name, share(name) * values[i]!]);
    // Every name of `averages`, and the deviation.
    return { ...Object.fromEntries(report), deviation: await this.deviation.item() };
  }

  /** Takes the optimizer's step number `count` (0-based) and clears the gradients. Returns their norm before clipping. */
  async apply(count: number): Promise<number> {
    this.ema?.decay.write([emaDecay(count, this.train.ema)]);
    this.applyStep.run();
    return this.optimizer.gradNorm.item();
  }

  dispose(): void {
    const { sums, deviation, gradients, accumulateStep, applyStep, optimizer, ema } = this;
    for (const each of [sums, deviation, ...gradients, accumulateStep, applyStep, optimizer]) each.dispose();
    ema?.dispose();
  }
}

/** Throws a CheckError for micro-batches without rows. */
export const checkMicroBatch = ({ micro_batch: rows }: OptimizerOptions): void =>
  check(Number.isInteger(rows) && rows > 0, `train.micro_batch: expected at least 1, found ${rows}`);

/** Rows in micro-batches of one size; the last is filled up with its first row. `own` of each are no filling. */
export function microBatches<Row>(rows: readonly Row[], size: number): { batch: Row[]; own: number }[] {
  return Array.from({ length: Math.ceil(rows.length / size) }, (_, b) => {
    const start = b * size;
    const batch = Array.from({ length: size }, (_, i) => rows[start + i] ?? rows[start]!);
    return { batch, own: Math.min(size, rows.length - start) };
  });
}

function optimizerOf(parameters: readonly Tensor[], train: OptimizerOptions): AdamW {
  const { lr, weight_decay: weightDecay, betas, eps, grad_norm: maxGradNorm } = train;
  return new AdamW(parameters, { lr, weightDecay, betas, eps, maxGradNorm });
}

/** What `make` makes of several tensors; where it throws, none of them is left. */
function whole<R>(device: Device, make: () => R): R {
  const { result, made } = device.collect(make);
  device.keep(made);
  return result;
}
