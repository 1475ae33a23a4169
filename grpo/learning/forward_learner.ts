/**
 * Learning from rows of the forward process, by DiffusionNFT's loss or by advantage weighted matching: a survivor's final latents are
 * mixed with noise again. Noise and level of a row are functions of the seed and of whole numbers alone, so that neither
 * micro-batches nor a resumed run change a bit of them.
 */

import { CheckError } from '../../engine/errors.js';
import {
  abs,
  add,
  assignRows,
  capture,
  type Device,
  indexSelect,
  max,
  mul,
  noGrad,
  normal,
  ones,
  type Step,
  sub,
  type Tensor,
  zeros,
} from '../../engine/index.js';
import { type Own, owning } from '../../engine/owning.js';
import type { GrpoConfig, SamplerConfig } from '../config.js';
import type { GenerativeModel } from '../model.js';
import { hashNumbers } from '../random.js';
import type { Trajectories } from '../rollout/trajectories.js';
import { awmLogProb, forwardRows, nftLoss } from './forward_loss.js';
import { Differentiation, type GradientSum, type MicroBatchLoss, microBatches } from './gradient_sum.js';
import type { TrainingRow } from './learner.js';
import { policyLoss, referenceKL } from './loss.js';
import { keepsPredictions } from './losses.js';
import { type Reference, referenceOf } from './reference.js';
import { measuresOf } from './report.js';

type ForwardKeys =
  | 'loss'
  | 'forward_rows'
  | 'nft_beta'
  | 'awm_weight'
  | 'clip'
  | 'kl'
  | 'kl_reference'
  | 'advantage_max'
  | 'timestep_fraction'
  | 'updates_per_rollout';

export interface ForwardOptions {
  readonly sampler: Pick<SamplerConfig, 'steps' | 'kind'>;
  readonly grpo: Pick<GrpoConfig, ForwardKeys>;
  /** Rows in one forward and backward. */
  readonly rows: number;
  /** What noise and levels are functions of, besides the numbers of a row. */
  readonly seed: number;
}

/** One draw of noise and level for a survivor; `step` is its number among the survivor's, from 0. */
export interface ForwardRow extends TrainingRow {
  readonly update: number;
  /** Number of the sample in its group, which is the prompt's `condition`. */
  readonly sample: number;
}

/** The inputs of a micro-batch, a row for each draw. */
interface Inputs {
  /** u32 [N]: rows of the store. */
  readonly stored: Tensor;
  /** u32 [N]: rows of the prompts' conditions. */
  readonly conditions: Tensor;
  /** u32 [N, 2]: what the noise is a function of. */
  readonly keys: Tensor;
  /** u32 [1]: 0. */
  readonly counter: Tensor;
  /** u32 [N]: rows of the kept predictions. */
  readonly places: Tensor;
  /** f32 [N], as all that follow: t, and what the network is fed at it. */
  readonly levels: Tensor;
  readonly timesteps: Tensor;
  readonly advantages: Tensor;
  readonly shares: Tensor;
}

/** The predictions of a rollout's rows before its first optimizer step. */
interface Kept {
  /** f32 [draws slots, ...latent]. */
  readonly predictions: Tensor;
  /** Writes those of a micro-batch. */
  readonly step: Step<void>;
}

export class ForwardLearner {
  private constructor(
    private readonly store: Trajectories,
    private readonly options: ForwardOptions,
    private readonly trainTimesteps: number,
    private readonly inputs: Inputs,
    private readonly kept: Kept | undefined,
    private readonly gradients: Differentiation,
    /** Where there is a divergence, what it is from. */
    readonly reference: Reference | undefined,
  ) {}

  /** Captures the learning from the final latents in `store`. Throws a CheckError for a model that is no flow. */
  static create(model: GenerativeModel, store: Trajectories, options: ForwardOptions): Promise<ForwardLearner> {
    const { device, latentShape } = model;
    const { sampler, grpo, rows } = options;
    return owning(async (own) => {
      const reference = referenceOf(model, grpo);
      if (reference) own(reference);
      const schedule = model.schedule(sampler.steps, sampler.kind);
      if (schedule.kind !== 'flow')
        throw new CheckError(`grpo.loss: ${grpo.loss} is for flows, found a ${schedule.kind} model`);
      const trainTimesteps = schedule.levels.timesteps[0]! / schedule.levels.sigmas[0]!;
      const inputs = makeInputs(device, rows, own);
      const kept = keepsPredictions(grpo)
        ? await keptOf(
            model,
            store,
            inputs,
            own(zeros(device, [grpo.forward_rows * store.options.slots, ...latentShape])),
          )
        : undefined;
      if (kept) own(kept.step);
      const gradients = await Differentiation.create<string>(model, measuresOf(grpo).averages, rows, () =>
        lossOf(model, store, grpo, inputs, kept?.predictions, reference),
      );
      return new ForwardLearner(store, options, trainTimesteps, inputs, kept, gradients, reference);
    });
  }

  /** What the rows sum up to. */
  get sum(): GradientSum {
    return this.gradients.sum;
  }

  /** Keeps the predictions for all rows of a rollout, before its first optimizer step, where later steps depart from them. */
  remember(rows: readonly ForwardRow[]): void {
    if (!this.kept) return;
    for (const { batch } of microBatches(rows, this.options.rows)) {
      this.writeRows(batch);
      this.kept.step.run();
    }
  }

  /** Adds the gradients of the rows' mean loss, where `total` rows make the mean: those left out count as rows of loss 0. */
  add(rows: readonly ForwardRow[], total: number): void {
    this.gradients.add(rows, total, (batch, shares) => {
      this.writeRows(batch);
      this.inputs.shares.write(shares);
    });
  }

  /** Begins the sum anew. */
  clear(): void {
    this.gradients.clear();
  }

  private writeRows(rows: readonly ForwardRow[]): void {
    const { inputs, store, options, trainTimesteps } = this;
    const { seed, grpo } = options;
    const levels = rows.map((row) => levelOf(seed, row, grpo.timestep_fraction));
    inputs.stored.write(rows.map(({ slot }) => store.row(0, slot)));
    inputs.conditions.write(rows.map(({ condition }) => condition));
    inputs.keys.write(rows.flatMap((row) => [0, 1].map((word) => wordOf(word, seed, row))));
    inputs.places.write(rows.map(({ slot, step }) => step * store.options.slots + slot));
    inputs.levels.write(levels);
    inputs.timesteps.write(levels.map((level) => trainTimesteps * level));
    inputs.advantages.write(rows.map(({ advantage }) => advantage));
  }

  dispose(): void {
    const { inputs, kept, gradients, reference } = this;
    for (const each of [...Object.values(inputs), kept?.predictions, kept?.step, gradients, reference]) each?.dispose();
  }
}

/** A random word of a row: words 0 and 1 are its noise's key, 2 its level. */
const wordOf = (word: number, seed: number, { update, condition, sample, step }: ForwardRow): number =>
  hashNumbers(word, seed, update, condition, sample, step);

/**
 * The level t of a row, uniform in (1 - share, 1] in the sigma that the network was trained by, in f32: a shift of the sampler's
 * schedule moves its steps, not these.
 */
export function levelOf(seed: number, row: ForwardRow, share: number): number {
  const fromNoise = 1 - (wordOf(2, seed, row) + 1) / 2 ** 32; // in [0, 1)
  return Math.fround(1 - share * fromNoise);
}

function makeInputs(device: Device, rows: number, own: Own): Inputs {
  const numbers = (dtype: 'u32' | 'f32', ...shape: readonly number[]): Tensor => own(zeros(device, shape, dtype));
  return {
    stored: numbers('u32', rows),
    conditions: numbers('u32', rows),
    keys: numbers('u32', rows, 2),
    counter: numbers('u32', 1),
    places: numbers('u32', rows),
    levels: numbers('f32', rows),
    timesteps: numbers('f32', rows),
    advantages: numbers('f32', rows),
    shares: numbers('f32', rows),
  };
}

/** What the network is asked of a micro-batch, and the target of its answer. */
function rowsOf({ predict }: GenerativeModel, store: Trajectories, inputs: Inputs) {
  const { stored, conditions, keys, counter, levels, timesteps } = inputs;
  const { latents, target, condition } = noGrad(() => {
    const clean = indexSelect(store.latents, stored);
    const noise = normal(keys, counter, clean.shape);
    const condition = store.conditions.map((rows) => indexSelect(rows, conditions));
    return { ...forwardRows(clean, noise, levels), condition };
  });
  return { target, predicted: (): Tensor => predict(latents, timesteps, condition) };
}

async function keptOf(model: GenerativeModel, store: Trajectories, inputs: Inputs, predictions: Tensor): Promise<Kept> {
  const step = await capture(model.device, () =>
    noGrad(() => assignRows(predictions, inputs.places, rowsOf(model, store, inputs).predicted())),
  );
  return { predictions, step };
}

/** The share of a micro-batch in the update's loss. */
function lossOf(
  model: GenerativeModel,
  store: Trajectories,
  grpo: ForwardOptions['grpo'],
  inputs: Inputs,
  kept: Tensor | undefined,
  policy: Reference | undefined,
): MicroBatchLoss<string> {
  const { device } = model;
  const { levels: level, advantages, shares } = inputs;
  const { target, predicted } = rowsOf(model, store, inputs);
  const prediction = predicted();
  const old = noGrad(() => (kept ? indexSelect(kept, inputs.places) : prediction.detach()));
  const learned = grpo.loss === 'awm' ? matching() : implicitPolicies();
  if (!policy) return { ...learned, terms: { ...learned.terms, kl: zeros(device, []) } };
  const reference = noGrad(() => policy.run(predicted));
  const divergence = referenceKL(prediction, reference, ones(device, level.shape), shares);
  return {
    ...learned,
    loss: add(learned.loss, mul(divergence, grpo.kl)),
    terms: { ...learned.terms, kl: divergence },
  };

  function matching(): MicroBatchLoss<string> {
    const logProbOf = (velocity: Tensor): Tensor => awmLogProb(velocity, target, level, grpo.awm_weight);
    const before = noGrad(() => logProbOf(old));
    const { loss, diagnostics } = policyLoss(logProbOf(prediction), before, advantages, { clip: grpo.clip, shares });
    const { ratioDeviation: deviation, ...others } = diagnostics;
    return { loss, terms: { policyLoss: loss, ...others }, deviation };
  }

  function implicitPolicies(): MicroBatchLoss<string> {
    const rows = { prediction, old, target, level, advantages };
    const loss = nftLoss(rows, { beta: grpo.nft_beta, advantageMax: grpo.advantage_max, shares });
    const deviation = kept ? noGrad(() => max(abs(sub(prediction, old)))) : zeros(device, []);
    return { loss, terms: { policyLoss: loss }, deviation };
  }
}
