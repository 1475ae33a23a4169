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
  type Device,
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
  zeros,
  zerosTogether,
} from '../../engine/index.js';
import { type Own, owning } from '../../engine/owning.js';
import type { GrpoConfig, SamplerConfig, TrainConfig } from '../config.js';
import type { GenerativeModel } from '../model.js';
import type { Trajectories } from '../rollout/trajectories.js';
import { type ClipRows, clipped, clipRows, packClippedMeans } from '../sampling/clip.js';
import { guided } from '../sampling/sampler.js';
import { klFactor, policyLoss, referenceKL } from './loss.js';

export interface LearnerOptions {
  readonly sampler: Pick<SamplerConfig, 'guidance' | 'detach_unconditional'>;
  readonly grpo: Pick<GrpoConfig, 'clip' | 'kl' | 'kl_form'>;
  readonly train: Pick<TrainConfig, 'micro_batch' | 'lr' | 'weight_decay' | 'betas' | 'eps' | 'grad_norm' | 'ema'>;
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

/** The inputs of a micro-batch, a row for each of its steps of trajectories. */
interface Inputs {
  /** u32 [N]: rows of the store, those of the latents before the step. */
  readonly stored: Tensor;
  /** u32 [N]: rows of the prompts' conditions. */
  readonly conditions: Tensor;
  /** f32 [N], as all that follow: what the network was fed. */
  readonly timesteps: Tensor;
  /** f32 [N, 5]: the transition that was drawn from. */
  readonly coefficients: Tensor;
  /** f32 [N, 5]: its mean, where steps clip. */
  readonly clip: ClipRows | undefined;
  /** The divergence's factors; 0 for a step without noise. */
  readonly klFactors: Tensor;
  readonly advantages: Tensor;
  readonly shares: Tensor;
}

export class Learner {
  private constructor(
    readonly optimizer: AdamW,
    readonly ema: EMA | undefined,
    private readonly store: Trajectories,
    private readonly options: LearnerOptions,
    private readonly inputs: Inputs,
    private readonly sums: Tensor,
    private readonly deviation: Tensor,
    private readonly gradients: readonly Tensor[],
    private readonly accumulateStep: Step<void>,
    private readonly applyStep: Step<void>,
  ) {}

  /** Captures the learning from the trajectories of `store`, by its transitions. */
  static create(model: GenerativeModel, store: Trajectories, options: LearnerOptions): Promise<Learner> {
    const { device, trainable } = model;
    const { grpo, train } = options;
    return owning(async (own) => {
      check(
        Number.isInteger(train.micro_batch) && train.micro_batch > 0,
        `train.micro_batch: expected at least 1, found ${train.micro_batch}`,
      );
      check(
        grpo.kl === 0 || model.reference !== undefined,
        'grpo.kl: a divergence needs a reference policy, so an adapter (lora)',
      );
      const parameters = [...trainable.values()];
      const optimizer = own(whole(device, () => optimizerOf(parameters, train)));
      const ema = train.ema > 0 ? own(whole(device, () => new EMA(parameters, { decay: train.ema }))) : undefined;
      const inputs = makeInputs(device, store, train.micro_batch, own);
      const shapes = parameters.map(({ shape }) => shape);
      const gradients = zerosTogether(device, shapes)?.map(own) ?? shapes.map((shape) => own(zeros(device, shape)));
      const [sums, deviation] = [own(zeros(device, [averages.length])), own(zeros(device, [1]))];
      const accumulateStep = own(
        await capture(device, () => {
          const { loss, terms, ratioDeviation } = lossOf(model, store, options, inputs);
          const found = backward(loss, parameters);
          for (const [i, gradient] of found.entries()) accumulate(gradients[i]!, gradient);
          noGrad(() => {
            const values = averages.map((name) => reshape(terms[name], [1]));
            accumulate(sums, concat(values, 0));
            assign(deviation, maximum(deviation, reshape(ratioDeviation, [1])));
          });
        }),
      );
      const applyStep = await capture(device, () => {
        optimizer.step(gradients);
        ema?.update();
        for (const each of [...gradients, sums, deviation]) assign(each, zeros(device, each.shape));
      });
      return new Learner(optimizer, ema, store, options, inputs, sums, deviation, gradients, accumulateStep, applyStep);
    });
  }

  /** Adds the gradients of the rows' mean loss, where `total` rows make the mean: those left out count as rows of loss 0. */
  async accumulate(rows: readonly TrainingRow[], total: number): Promise<LearningReport> {
    const { inputs, sums, deviation } = this;
    const size = inputs.stored.size;
    for (let start = 0; start < rows.length; start += size) {
      // The last micro-batch is filled up with its first row, of share 0.
      const batch = Array.from({ length: size }, (_, i) => rows[start + i] ?? rows[start]!);
      this.writeRows(batch);
      inputs.shares.write(batch.map((_, i) => (start + i < rows.length ? 1 / total : 0)));
      this.accumulateStep.run();
    }
    const values = await sums.data();
    const others = total / Math.max(1, rows.length); // what has no loss without being computed still has a ratio
    const share = (name: (typeof averages)[number]): number => (name === 'policyLoss' || name === 'kl' ? 1 : others);
    const report = Object.fromEntries(averages.map((name, i) => [name, share(name) * values[i]!]));
    return { ...report, ratioDeviation: await deviation.item() } as unknown as LearningReport; // every name of `averages`
  }

  private writeRows(rows: readonly TrainingRow[]): void {
    const { inputs, store, options } = this;
    const transitions = rows.map(({ step }) => store.transitions[step]!);
    inputs.stored.write(rows.map(({ slot, step }) => store.row(step, slot)));
    inputs.conditions.write(rows.map(({ condition }) => condition));
    inputs.timesteps.write(transitions.map(({ timestep }) => timestep));
    inputs.coefficients.write(packGaussianCoefficients(transitions.map(({ step }) => step)));
    inputs.clip?.rows.write(packClippedMeans(transitions.map(({ clip }) => clip!))); // one of them clips, so all do
    inputs.klFactors.write(
      transitions.map(({ step, interval }) => (step.std > 0 ? klFactor(options.grpo.kl_form, step, interval) : 0)),
    );
    inputs.advantages.write(rows.map(({ advantage }) => advantage));
  }

  /** Takes the optimizer's step number `count` (0-based) and clears the gradients. Returns their norm before clipping. */
  async apply(count: number): Promise<number> {
    this.ema?.decay.write([emaDecay(count, this.options.train.ema)]);
    this.applyStep.run();
    return this.optimizer.gradNorm.item();
  }

  dispose(): void {
    const { inputs, sums, deviation, gradients, accumulateStep, applyStep, optimizer, ema } = this;
    const { clip, ...tensors } = inputs;
    for (const each of [...Object.values(tensors), sums, deviation, ...gradients, accumulateStep, applyStep, optimizer])
      each.dispose();
    clip?.rows.dispose();
    ema?.dispose();
  }
}

function optimizerOf(parameters: readonly Tensor[], train: LearnerOptions['train']): AdamW {
  const { lr, weight_decay: weightDecay, betas, eps, grad_norm: maxGradNorm } = train;
  return new AdamW(parameters, { lr, weightDecay, betas, eps, maxGradNorm });
}

/** What `make` makes of several tensors; where it throws, none of them is left. */
function whole<R>(device: Device, make: () => R): R {
  const { result, made } = device.collect(make);
  device.keep(made);
  return result;
}

function makeInputs(device: Device, { transitions }: Trajectories, rows: number, own: Own): Inputs {
  const numbers = (dtype: 'u32' | 'f32', ...shape: readonly number[]): Tensor => own(zeros(device, shape, dtype));
  return {
    stored: numbers('u32', rows),
    conditions: numbers('u32', rows),
    timesteps: numbers('f32', rows),
    coefficients: numbers('f32', rows, gaussianColumns),
    clip: clipRows(device, rows, transitions[0]?.clip, own),
    klFactors: numbers('f32', rows),
    advantages: numbers('f32', rows),
    shares: numbers('f32', rows),
  };
}

interface Loss {
  readonly loss: Tensor;
  readonly terms: Readonly<Record<(typeof averages)[number], Tensor>>;
  readonly ratioDeviation: Tensor;
}

/** The share of a micro-batch in the update's loss. */
function lossOf(model: GenerativeModel, store: Trajectories, { sampler, grpo }: LearnerOptions, inputs: Inputs): Loss {
  const { device, predict } = model;
  const { stored, conditions, timesteps, coefficients, clip, klFactors, advantages, shares } = inputs;
  const scale = sampler.guidance;
  const { latents, next, oldLogProb, condition, unconditional } = noGrad(() => {
    const none = full(device, conditions.shape, store.unconditional, 'u32');
    return {
      latents: indexSelect(store.latents, stored),
      next: indexSelect(store.latents, add(stored, store.options.slots)),
      oldLogProb: indexSelect(store.logProbs, stored),
      condition: store.conditions.map((rows) => indexSelect(rows, conditions)),
      unconditional: scale === 1 ? [] : store.conditions.map((rows) => indexSelect(rows, none)),
    };
  });
  const predicted = (detached: boolean): Tensor =>
    guided(predict, latents, timesteps, condition, { scale, unconditional, detached });
  const prediction = predicted(sampler.detach_unconditional);
  const taken = clipped(latents, prediction, clip);
  const [logProb] = gaussianLogProb(taken, latents, next, coefficients);
  const { loss, diagnostics } = policyLoss(logProb, oldLogProb, advantages, { clip: grpo.clip, shares });
  const { ratioDeviation, ...others } = diagnostics;
  if (grpo.kl === 0) return { loss, terms: { policyLoss: loss, kl: zeros(device, []), ...others }, ratioDeviation };
  const reference = noGrad(() => model.reference!(() => predicted(false)));
  const divergence =
    grpo.kl_form === 'velocity'
      ? referenceKL(prediction, reference, klFactors, shares)
      : referenceKL(
          taken,
          noGrad(() => clipped(latents, reference, clip)),
          klFactors,
          shares,
        );
  return {
    loss: add(loss, mul(divergence, grpo.kl)),
    terms: { policyLoss: loss, kl: divergence, ...others },
    ratioDeviation,
  };
}
