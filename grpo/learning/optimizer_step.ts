/** One clipped AdamW step, with the moving average, by sums of gradients that are added shard by shard. Captured once. */
import { AdamW, capture, type Device, EMA, emaDecay, type Step, type Tensor } from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import type { TrainConfig } from '../config.js';
import type { GenerativeModel } from '../model.js';
import { GradientSum } from './gradient_sum.js';
import type { LearningReport, LossMeasures } from './report.js';

/** The optimizer's keys. */
export type OptimizerOptions = Pick<TrainConfig, 'lr' | 'weight_decay' | 'betas' | 'eps' | 'grad_norm' | 'ema'>;

/** The steps of one shard alone need no second sum: `total` is the shard's own. */
interface Steps {
  readonly collect: Step<void> | undefined;
  readonly apply: Step<void>;
  readonly clear: Step<void>;
}

export class OptimizerStep {
  private constructor(
    readonly optimizer: AdamW,
    readonly ema: EMA | undefined,
    private readonly train: OptimizerOptions,
    private readonly measures: LossMeasures,
    /** The sum over all shards; the shard's own where there is but one. */
    private readonly total: GradientSum,
    private readonly steps: Steps,
  ) {}

  /**
   * Captures the adding of `shard`, which holds the sum of one shard after the other, and the optimizer's step. Where an update is
   * of one shard, no other sum is kept.
   */
  static create(
    model: Pick<GenerativeModel, 'device' | 'trainable'>,
    shard: GradientSum,
    { train, shards, measures }: { train: OptimizerOptions; shards: number; measures: LossMeasures },
  ): Promise<OptimizerStep> {
    const { device, trainable } = model;
    return owning(async (own) => {
      const parameters = [...trainable.values()];
      const optimizer = own(whole(device, () => optimizerOf(parameters, train)));
      const ema = train.ema > 0 ? own(whole(device, () => new EMA(parameters, { decay: train.ema }))) : undefined;
      const isOne = shards === 1;
      const total = isOne ? shard : own(GradientSum.create(model, measures.averages.length));
      const collect = isOne
        ? undefined
        : own(
            await capture(device, () => {
              total.add(shard);
              shard.clear();
            }),
          );
      const clear = own(
        await capture(device, () => {
          for (const sum of new Set([total, shard])) sum.clear();
        }),
      );
      const apply = await capture(device, () => {
        optimizer.step(total.gradients);
        ema?.update();
        total.clear();
      });
      return new OptimizerStep(optimizer, ema, train, measures, total, { collect, clear, apply });
    });
  }

  /** Adds the shard's sum, which begins anew. */
  collect(): void {
    this.steps.collect?.run();
  }

  /** Forgets what was added. */
  clear(): void {
    this.steps.clear.run();
  }

  /**
   * What the rows of all shards say, where `rows` were computed and `total` rows make the mean. The losses `policyLoss` and
   * `kl` are averages over all rows, the others over those that were computed.
   */
  async report(rows: number, total: number): Promise<LearningReport> {
    const { averages, departure } = this.measures;
    const values = await this.total.averages.data();
    const others = total / Math.max(1, rows); // what has no loss without being computed still has a ratio
    const share = (name: string): number => (name === 'policyLoss' || name === 'kl' ? 1 : others);
    const report = averages.map((name, i) => [name, share(name) * values[i]!]);
    // Every name of `averages`, which has those of a report.
    const means = Object.fromEntries(report) as unknown as LearningReport;
    return { ...means, ...(departure && { [departure]: await this.total.deviation.item() }) };
  }

  /** Takes the optimizer's step number `count` (0-based) and clears the gradients. Returns their norm before clipping. */
  async apply(count: number): Promise<number> {
    this.ema?.decay.write([emaDecay(count, this.train.ema)]);
    this.steps.apply.run();
    return this.optimizer.gradNorm.item();
  }

  dispose(): void {
    const { total, steps, optimizer, ema } = this;
    if (steps.collect) total.dispose(); // else it is the shard's
    for (const each of [steps.collect, steps.clear, steps.apply, optimizer, ema]) each?.dispose();
  }
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
