/**
 * The learning half of an update: gradients of the clipped policy loss over steps of trajectories, gathered in place over
 * micro-batches, then one clipped AdamW step. Both halves are captured once and replayed; a micro-batch is named by five short
 * lists of numbers, everything else is on the GPU already.
 */
import { check } from '../../engine/errors.js';
import {
  AdamW,
  accumulate,
  add,
  assign,
  backward,
  capture,
  concat,
  EMA,
  emaDecay,
  full,
  gaussianColumns,
  gaussianLogProb,
  indexSelect,
  maximum,
  mul,
  noGrad,
  packGaussianCoefficients,
  reshape,
  type Step,
  type Tensor,
  tensor,
  zeros,
  zerosTogether,
} from '../../engine/index.js';
import type { KLForm } from '../config.js';
import type { GenerativeModel } from '../model.js';
import type { Trajectories } from '../rollout/trajectories.js';
import { guided } from '../sampling/sampler.js';
import type { Transition } from '../sampling/transitions.js';
import { klFactor, policyLoss, referenceKL } from './loss.js';

export interface LearnerOptions {
  readonly transitions: readonly Transition[];
  readonly guidance: number;
  readonly detachUnconditional: boolean;
  readonly clip: number;
  /** Weight of the divergence from the reference; 0 saves its forward. */
  readonly kl: number;
  readonly klForm: KLForm;
  /** Steps of trajectories in one forward and backward. */
  readonly microBatch: number;
  readonly lr: number;
  readonly weightDecay: number;
  readonly betas: readonly [number, number];
  /** AdamW's. */
  readonly eps: number;
  readonly gradNorm: number;
  /** Decay of the moving average; 0 for none. */
  readonly ema: number;
}

/** One step of a trajectory that is trained on. */
export interface TrainingRow {
  /** Where the trajectory lies. */
  readonly slot: number;
  readonly step: number;
  /** Row of its prompt's condition. */
  readonly condition: number;
  readonly advantage: number;
}

/** What one optimizer step learns from: losses averaged over all rows, the ratios over those that were computed. */
export interface LearningReport {
  readonly policyLoss: number;
  /** Divergence from the reference, without its weight. */
  readonly kl: number;
  readonly approxKL: number;
  /** Share of ratios outside the clip range; above it; below it. */
  readonly clipFraction: number;
  readonly clipFractionHigh: number;
  readonly clipFractionLow: number;
  readonly ratioMean: number;
  /** The largest |ratio - 1|. */
  readonly ratioDeviation: number;
}

/** The averages that add up over micro-batches, in the order in which they stand in one tensor. */
const averages = [
  'policyLoss',
  'kl',
  'approxKL',
  'clipFraction',
  'clipFractionHigh',
  'clipFractionLow',
  'ratioMean',
] as const;

/** The inputs of a micro-batch, each [micro-batch]. */
interface Inputs {
  readonly slots: Tensor;
  readonly steps: Tensor;
  readonly conditions: Tensor;
  readonly advantages: Tensor;
  readonly shares: Tensor;
}

export class Learner {
  private constructor(
    readonly optimizer: AdamW,
    readonly ema: EMA | undefined,
    private readonly options: LearnerOptions,
    private readonly inputs: Inputs,
    private readonly sums: Tensor,
    private readonly deviation: Tensor,
    private readonly gradients: readonly Tensor[],
    private readonly accumulateStep: Step<void>,
    private readonly applyStep: Step<void>,
  ) {}

  static async create(model: GenerativeModel, store: Trajectories, options: LearnerOptions): Promise<Learner> {
    const { device, trainable } = model;
    const { microBatch, lr, weightDecay, betas, eps, gradNorm, kl } = options;
    check(
      Number.isInteger(microBatch) && microBatch > 0,
      `train.micro_batch: expected at least 1, found ${microBatch}`,
    );
    check(
      kl === 0 || model.reference !== undefined,
      'grpo.kl: a divergence needs a reference policy, so an adapter (lora)',
    );
    const parameters = [...trainable.values()];
    const optimizer = new AdamW(parameters, { lr, weightDecay, betas, eps, maxGradNorm: gradNorm });
    const ema = options.ema > 0 ? new EMA(parameters, { decay: options.ema }) : undefined;
    const numbers = (dtype: 'u32' | 'f32'): Tensor => zeros(device, [microBatch], dtype);
    const inputs: Inputs = {
      slots: numbers('u32'),
      steps: numbers('u32'),
      conditions: numbers('u32'),
      advantages: numbers('f32'),
      shares: numbers('f32'),
    };
    const shapes = parameters.map(({ shape }) => shape);
    const gradients = zerosTogether(device, shapes) ?? shapes.map((shape) => zeros(device, shape));
    const [sums, deviation] = [zeros(device, [averages.length]), zeros(device, [1])];
    const accumulateStep = await capture(device, () => {
      const { loss, parts, ratioDeviation } = lossOf(model, store, options, inputs);
      const found = backward(loss, parameters);
      for (const [i, gradient] of found.entries()) accumulate(gradients[i]!, gradient);
      noGrad(() => {
        accumulate(
          sums,
          concat(
            averages.map((name) => reshape(parts[name], [1])),
            0,
          ),
        );
        assign(deviation, maximum(deviation, reshape(ratioDeviation, [1])));
      });
    });
    const applyStep = await capture(device, () => {
      optimizer.step(gradients);
      ema?.update();
      for (const each of [...gradients, sums, deviation]) assign(each, zeros(device, each.shape));
    });
    return new Learner(optimizer, ema, options, inputs, sums, deviation, gradients, accumulateStep, applyStep);
  }

  /** Adds the gradients of the rows' mean loss, where `total` rows make the mean: those left out count as rows of loss 0. */
  async accumulate(rows: readonly TrainingRow[], total: number): Promise<LearningReport> {
    const { inputs, sums, deviation } = this;
    const size = inputs.slots.size;
    for (let start = 0; start < rows.length; start += size) {
      // The last micro-batch is filled up with its first row, of share 0.
      const batch = Array.from({ length: size }, (_, i) => rows[start + i] ?? rows[start]!);
      inputs.slots.write(batch.map(({ slot }) => slot));
      inputs.steps.write(batch.map(({ step }) => step));
      inputs.conditions.write(batch.map(({ condition }) => condition));
      inputs.advantages.write(batch.map(({ advantage }) => advantage));
      inputs.shares.write(batch.map((_, i) => (start + i < rows.length ? 1 / total : 0)));
      this.accumulateStep.run();
    }
    const values = await sums.data();
    const others = total / Math.max(1, rows.length); // what has no loss without being computed still has a ratio
    const share = (name: (typeof averages)[number]): number => (name === 'policyLoss' || name === 'kl' ? 1 : others);
    const report = Object.fromEntries(averages.map((name, i) => [name, share(name) * values[i]!]));
    return { ...report, ratioDeviation: await deviation.item() } as unknown as LearningReport; // every name of `averages`
  }

  /** Takes the optimizer's step number `count` (0-based) and clears the gradients. Returns their norm before clipping. */
  async apply(count: number): Promise<number> {
    this.ema?.decay.write([emaDecay(count, this.options.ema)]);
    this.applyStep.run();
    return this.optimizer.gradNorm.item();
  }

  dispose(): void {
    const { inputs, sums, deviation, gradients, accumulateStep, applyStep, optimizer, ema } = this;
    for (const each of [...Object.values(inputs), sums, deviation, ...gradients, accumulateStep, applyStep, optimizer])
      each.dispose();
    ema?.dispose();
  }
}

interface Loss {
  readonly loss: Tensor;
  readonly parts: Readonly<Record<(typeof averages)[number], Tensor>>;
  readonly ratioDeviation: Tensor;
}

/** The share of a micro-batch in the update's loss. */
function lossOf(model: GenerativeModel, store: Trajectories, options: LearnerOptions, inputs: Inputs): Loss {
  const { transitions, guidance: scale, detachUnconditional: detached, clip, kl, klForm } = options;
  const { device, predict } = model;
  const { slots, steps, conditions, advantages, shares } = inputs;
  const given = noGrad(() => {
    const before = add(slots, mul(steps, store.size.slots));
    const none = full(device, conditions.shape, store.unconditional, 'u32');
    const column = (values: readonly number[]): Tensor => indexSelect(tensor(device, values), steps);
    const coefficients = packGaussianCoefficients(transitions.map(({ step }) => step));
    return {
      latents: indexSelect(store.latents, before),
      next: indexSelect(store.latents, add(before, store.size.slots)),
      oldLogProb: indexSelect(store.logProbs, before),
      timesteps: column(transitions.map(({ timestep }) => timestep)),
      coefficients: indexSelect(tensor(device, coefficients, [transitions.length, gaussianColumns]), steps),
      condition: store.conditions.map((part) => indexSelect(part, conditions)),
      unconditional: scale === 1 ? [] : store.conditions.map((part) => indexSelect(part, none)),
      klFactors: kl > 0 ? column(klFactors(transitions, klForm)) : undefined,
    };
  });
  const { latents, next, oldLogProb, timesteps, coefficients, condition, unconditional, klFactors: factors } = given;
  const predicted = (isReference: boolean): Tensor =>
    guided(predict, latents, timesteps, condition, { scale, unconditional, detached: detached && !isReference });
  const prediction = predicted(false);
  const [logProb] = gaussianLogProb(prediction, latents, next, coefficients);
  const { loss, diagnostics } = policyLoss(logProb, oldLogProb, advantages, { clip, shares });
  const { ratioDeviation, ...others } = diagnostics;
  if (!factors) return { loss, parts: { policyLoss: loss, kl: zeros(device, []), ...others }, ratioDeviation };
  const reference = noGrad(() => model.reference!(() => predicted(true)));
  const divergence = referenceKL(prediction, reference, factors, shares);
  return {
    loss: add(loss, mul(divergence, kl)),
    parts: { policyLoss: loss, kl: divergence, ...others },
    ratioDeviation,
  };
}

/** The factor of each step; 0 for one without noise, which is not trained. */
const klFactors = (transitions: readonly Transition[], form: KLForm): number[] =>
  transitions.map(({ step, interval }) => (step.std > 0 ? klFactor(form, step, interval) : 0));
