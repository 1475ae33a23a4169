/** Evaluation: pictures of held-out prompts from fixed noise, and what can be said of their rewards. */
import { check } from '../engine/errors.js';
import { assign, type Tensor } from '../engine/index.js';
import { owning } from '../engine/owning.js';
import { momentsOf } from './learning/advantage.js';
import type { GenerativeModel, Prompt } from './model.js';
import { hashNumbers } from './random.js';
import type { CombinedReward, ScoreOptions } from './rewards/reward.js';
import { type Picture, PictureDecoder } from './rollout/pictures.js';
import { initialLatents, Sampler, type SamplingStep } from './sampling/sampler.js';
import { odeStepsOf, type TransitionOptions, transitionsOf } from './sampling/transitions.js';

/** A picture to draw. */
export interface PictureJob {
  readonly prompt: Prompt;
  /** All noise of the picture is a function of it. */
  readonly seed: number;
}

export interface PictureSamplerOptions {
  readonly steps: number;
  /** Steps with noise, as in a rollout. Default: deterministic ones. */
  readonly stochastic?: TransitionOptions | undefined;
  /** Classifier-free guidance; 1 is none. */
  readonly guidance: number;
  /** Pictures drawn together; a picture does not depend on it. */
  readonly batch: number;
}

export interface DrawEvents {
  /** Called after each step of a batch, with the pictures done before it. Given one, every step is waited for. */
  readonly onStep?: ((done: number, step: number, steps: number) => void) | undefined;
  /** Sees each batch when it is done; `start` is the place of its first picture. */
  readonly onBatch?: ((pictures: readonly Picture[], start: number) => Promise<void> | void) | undefined;
}

/** Draws pictures of any prompts and seeds with the model as it stands, adapter included. */
export class PictureSampler {
  private constructor(
    private readonly model: GenerativeModel,
    private readonly options: PictureSamplerOptions,
    private readonly sampler: Sampler,
    private readonly decoder: PictureDecoder,
    private readonly conditions: readonly Tensor[],
  ) {}

  static create(model: GenerativeModel, options: PictureSamplerOptions): Promise<PictureSampler> {
    const { device, predict, latentShape, encode, negativePrompt = '' } = model;
    const { batch, guidance } = options;
    return owning(async (own) => {
      check(Number.isInteger(batch) && batch > 0, `pictures: expected a batch of at least 1, found ${batch}`);
      const none = Array<string>(batch).fill(negativePrompt);
      const condition = encode(none).map(own);
      const unconditional = encode(none).map(own);
      const scale = { scale: guidance, unconditional };
      const clip = pathOf(model, options)[0]!.clip?.range;
      const sampler = own(await Sampler.create(device, predict, [batch, ...latentShape], condition, scale, { clip }));
      const decoder = await PictureDecoder.create(model, batch);
      return new PictureSampler(model, options, sampler, decoder, [...condition, ...unconditional]);
    });
  }

  /** The pictures, in order, batch by batch. */
  async draw(jobs: readonly PictureJob[], { onStep, onBatch }: DrawEvents = {}): Promise<Picture[]> {
    const { batch } = this.options;
    const path = pathOf(this.model, this.options);
    const pictures: Picture[] = [];
    for (let start = 0; start < jobs.length; start += batch) {
      const own = jobs.slice(start, start + batch);
      // The last batch is filled up with its last job: a picture does not depend on the others.
      const filled = Array.from({ length: batch }, (_, i) => own[Math.min(i, own.length - 1)]!);
      await this.drawLatents(filled, path, onStep && ((step) => onStep(start, step, path.length)));
      const drawn = await this.decoder.pictures(own.map(({ prompt }) => prompt));
      await onBatch?.(drawn, start);
      pictures.push(...drawn);
    }
    return pictures;
  }

  /** Writes the latents of a batch of jobs into the decoder. */
  private async drawLatents(
    jobs: readonly PictureJob[],
    path: readonly SamplingStep[],
    onStep?: (step: number) => void,
  ): Promise<void> {
    const { device, latentShape, encode } = this.model;
    const seeds = jobs.map(({ seed }) => seed);
    const given: Tensor[] = [];
    try {
      const initial = initialLatents(device, seeds, latentShape);
      given.push(initial);
      const condition = encode(jobs.map(({ prompt }) => prompt.prompt));
      given.push(...condition);
      const latents = await this.sampler.sample(initial, path, { condition, seeds, ...(onStep && { onStep }) });
      assign(this.decoder.latents, latents);
    } finally {
      for (const each of given) each.dispose();
    }
  }

  dispose(): void {
    for (const thing of [this.sampler, this.decoder, ...this.conditions]) thing.dispose();
  }
}

/** The steps that pictures are drawn by. */
function pathOf({ schedule }: GenerativeModel, { steps, stochastic }: PictureSamplerOptions): SamplingStep[] {
  return stochastic ? transitionsOf(schedule(steps, stochastic.kind), stochastic) : odeStepsOf(schedule(steps));
}

/** Prompts in turn, `count` pictures in all, each with noise that `seed` fixes: the same for every model that is evaluated. */
export function evaluationJobs(prompts: readonly Prompt[], count: number, seed: number): PictureJob[] {
  check(prompts.length > 0, 'evaluation: there are no prompts');
  return Array.from({ length: count }, (_, i) => ({
    prompt: prompts[i % prompts.length]!,
    seed: hashNumbers(seed, evaluation, i),
  }));
}

const evaluation = 0x6576616c; // tells the seeds of evaluations from those of rollouts

/** Scores of the pictures of some jobs, in their order, by reward. */
export type Evaluation = Readonly<Record<string, readonly number[]>>;

/** Draws the jobs' pictures and scores them. `rewards` may hold more than is trained on; their weights do not matter. The signal ends the waiting for a reward. */
export async function evaluate(
  sampler: PictureSampler,
  rewards: CombinedReward,
  jobs: readonly PictureJob[],
  options: Pick<ScoreOptions, 'signal'> = {},
): Promise<{ scores: Evaluation; pictures: Picture[] }> {
  const scores: Record<string, number[]> = {};
  const pictures = await sampler.draw(jobs, {
    onBatch: async (batch) => {
      const { byReward } = await rewards.score(batch, [batch.length], options);
      for (const [name, values] of Object.entries(byReward)) scores[name] = [...(scores[name] ?? []), ...values];
    },
  });
  return { scores, pictures };
}

/** A mean, and the interval that holds the true one in 95 of 100 such samples. */
export interface Estimate {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  /** The standard deviation of the values, by n - 1. */
  readonly std: number;
  readonly count: number;
}

/** Student's interval of the mean; of a single value it is infinite. */
export function estimateMean(values: readonly number[]): Estimate {
  check(values.length > 0, 'estimate: there are no values');
  const count = values.length;
  const { mean, std } = momentsOf(values, 1);
  const half = count > 1 ? (studentQuantile(count - 1) * std) / Math.sqrt(count) : Number.POSITIVE_INFINITY;
  return { mean, low: mean - half, high: mean + half, std, count };
}

/** The mean of after - before, of pictures of the same prompts and noise: in pairs, what prompts differ by does not widen it. */
export function estimateDifference(before: readonly number[], after: readonly number[]): Estimate {
  check(before.length === after.length, `difference: ${before.length} scores before, ${after.length} after`);
  return estimateMean(after.map((value, i) => value - before[i]!));
}

/**
 * The 97.5 % quantile of Student's t, from the normal one by Cornish and Fisher's expansion (Abramowitz and Stegun, 26.7.5), off
 * by less than 0.1 % from 4 degrees of freedom on; exact values below.
 */
export function studentQuantile(degrees: number): number {
  const exact = [12.706205, 4.302653, 3.182446][degrees - 1];
  if (exact !== undefined) return exact;
  const z = 1.959963985;
  const terms = [
    (z ** 3 + z) / 4,
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96,
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384,
    (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / 92160,
  ];
  return terms.reduce((sum, term, i) => sum + term / degrees ** (i + 1), z);
}
