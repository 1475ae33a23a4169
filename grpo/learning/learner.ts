/**
 * Learning from steps of trajectories by the clipped policy loss. A micro-batch is named by five short lists of numbers,
 * everything else is on the GPU already.
 */
import {
  add,
  type Device,
  full,
  gaussianColumns,
  gaussianLogProb,
  gaussianMean,
  indexSelect,
  mul,
  noGrad,
  packGaussianCoefficients,
  sub,
  type Tensor,
  zeros,
} from '../../engine/index.js';
import { type Own, owning } from '../../engine/owning.js';
import type { GrpoConfig, SamplerConfig } from '../config.js';
import type { GenerativeModel } from '../model.js';
import type { Trajectories } from '../rollout/trajectories.js';
import { type ClipRows, clipped, clipRows, packClippedMeans } from '../sampling/clip.js';
import { guided } from '../sampling/sampler.js';
import { Differentiation, type GradientSum, type MicroBatchLoss } from './gradient_sum.js';
import { klFactor, policyLoss, referenceKL } from './loss.js';
import { type Reference, referenceOf } from './reference.js';
import { type RatioAverage, ratioAverages } from './report.js';
import { guardedLogRatio, guardFactor } from './row_weights.js';

export interface LearnerOptions {
  readonly sampler: Pick<SamplerConfig, 'guidance' | 'detach_unconditional'>;
  readonly grpo: Pick<GrpoConfig, 'clip' | 'kl' | 'kl_form' | 'kl_reference'>;
  /** Rows in one forward and backward. */
  readonly rows: number;
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
  /** Those of GRPO-Guard's ratio, where the rollout's predictions are kept for it. */
  readonly guardFactors: Tensor | undefined;
  readonly advantages: Tensor;
  readonly shares: Tensor;
}

export class Learner {
  private constructor(
    private readonly store: Trajectories,
    private readonly options: LearnerOptions,
    private readonly inputs: Inputs,
    private readonly gradients: Differentiation,
    /** Where there is a divergence, what it is from. */
    readonly reference: Reference | undefined,
  ) {}

  /** Captures the learning from the trajectories of `store`, by its transitions. */
  static create(model: GenerativeModel, store: Trajectories, options: LearnerOptions): Promise<Learner> {
    const { device } = model;
    const { grpo, rows } = options;
    return owning(async (own) => {
      const reference = referenceOf(model, grpo);
      if (reference) own(reference);
      const inputs = makeInputs(device, store, rows, own);
      const loss = (): MicroBatchLoss<RatioAverage> => lossOf(model, store, options, inputs, reference);
      const gradients = await Differentiation.create(model, ratioAverages, rows, loss);
      return new Learner(store, options, inputs, gradients, reference);
    });
  }

  /** What the rows sum up to. */
  get sum(): GradientSum {
    return this.gradients.sum;
  }

  /** Adds the gradients of the rows' mean loss, where `total` rows make the mean: those left out count as rows of loss 0. */
  add(rows: readonly TrainingRow[], total: number): void {
    this.gradients.add(rows, total, (batch, shares) => {
      this.writeRows(batch);
      this.inputs.shares.write(shares);
    });
  }

  /** Begins the sum anew. */
  clear(): void {
    this.gradients.clear();
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
    inputs.guardFactors?.write(transitions.map(({ step }) => guardFactor(step)));
    inputs.advantages.write(rows.map(({ advantage }) => advantage));
  }

  dispose(): void {
    const { clip, ...tensors } = this.inputs;
    for (const each of [...Object.values(tensors), this.gradients, this.reference]) each?.dispose();
    clip?.rows.dispose();
  }
}

function makeInputs(device: Device, { transitions, predictions }: Trajectories, rows: number, own: Own): Inputs {
  const numbers = (dtype: 'u32' | 'f32', ...shape: readonly number[]): Tensor => own(zeros(device, shape, dtype));
  return {
    stored: numbers('u32', rows),
    conditions: numbers('u32', rows),
    timesteps: numbers('f32', rows),
    coefficients: numbers('f32', rows, gaussianColumns),
    clip: clipRows(device, rows, transitions[0]?.clip, own),
    klFactors: numbers('f32', rows),
    guardFactors: predictions && numbers('f32', rows),
    advantages: numbers('f32', rows),
    shares: numbers('f32', rows),
  };
}

/** The share of a micro-batch in the update's loss. */
function lossOf(
  model: GenerativeModel,
  store: Trajectories,
  { sampler, grpo }: LearnerOptions,
  inputs: Inputs,
  policy: Reference | undefined,
): MicroBatchLoss<RatioAverage> {
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
  const { loss, diagnostics } = policyLoss(...logProbs(), advantages, { clip: grpo.clip, shares });
  const { ratioDeviation: deviation, ...others } = diagnostics;
  if (!policy) return { loss, terms: { policyLoss: loss, kl: zeros(device, []), ...others }, deviation };
  const reference = noGrad(() => policy.run(() => predicted(false)));
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
    deviation,
  };

  /** Log probabilities now and before; of GRPO-Guard their difference beside 0. */
  function logProbs(): [now: Tensor, before: Tensor] {
    if (!store.predictions || !inputs.guardFactors)
      return [gaussianLogProb(taken, latents, next, coefficients)[0], oldLogProb];
    const old = noGrad(() => indexSelect(store.predictions!, stored));
    const noise = noGrad(() => sub(next, gaussianMean(latents, old, coefficients)));
    const ratio = guardedLogRatio({ prediction: taken, old, noise }, inputs.guardFactors);
    return [ratio, zeros(device, oldLogProb.shape)];
  }
}
