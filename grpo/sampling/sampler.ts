/**
 * Sampling outside of training, by deterministic steps (Euler's of a flow, DDIM's of a diffusion model) or by those of a
 * rollout, with classifier-free guidance. A policy is a function from latents, timestep and condition to the network's
 * prediction.
 */
import { check } from '../../engine/errors.js';
import {
  add,
  assign,
  capture,
  concat,
  type Device,
  type GaussianCoefficients,
  gaussianColumns,
  gaussianNext,
  mul,
  noGrad,
  normal,
  packGaussianCoefficients,
  type Step,
  scope,
  split,
  sub,
  type Tensor,
  tensor,
  zeros,
} from '../../engine/index.js';
import { owning } from '../../engine/owning.js';
import { type ClippedMean, clipColumns, clipped, packClippedMeans } from './clip.js';

/** The network's prediction for latents [N, C, H, W] at timesteps [N] or [1], under a condition of tensors [N, ...]. */
export type Policy = (latents: Tensor, timestep: Tensor, condition: readonly Tensor[]) => Tensor;

/** One step of a sampler. */
export interface SamplingStep {
  /** What the network is fed. */
  readonly timestep: number;
  /** The distribution of the next latents; of a deterministic step their value, with a deviation of 0. */
  readonly step: GaussianCoefficients;
  /** Where the predicted clean sample is clipped: the mean, which takes the place of the prediction. */
  readonly clip?: ClippedMean | undefined;
}

/** Initial latents [seeds, ...shape]: sample i is a function of seeds[i] alone, whatever the others. */
export function initialLatents(device: Device, seeds: readonly number[], shape: readonly number[]): Tensor {
  return scope(device, () => {
    const keys = tensor(device, keysOf(seeds), [seeds.length, 2], 'u32');
    return normal(keys, tensor(device, [0], [1], 'u32'), [seeds.length, ...shape]);
  });
}

/** What a sample's noise is a function of, besides a counter: 0 for the initial latents, i + 1 for step i. */
const keysOf = (seeds: readonly number[]): number[] => seeds.flatMap((seed) => [seed, 0]);

/**
 * The prediction under guidance: u + g (c - u), with both halves in one batch, the unconditional first. (Ho and Salimans
 * 2022.) A guidance of 1 asks the network only under the condition.
 */
export function guided(
  policy: Policy,
  latents: Tensor,
  timestep: Tensor,
  condition: readonly Tensor[],
  guidance?: Guidance,
): Tensor {
  if (!guidance || guidance.scale === 1) return policy(latents, timestep, condition);
  const [unconditional, conditional] = bothHalves(policy, latents, timestep, condition, guidance);
  return add(unconditional, mul(sub(conditional, unconditional), guidance.scale));
}

function bothHalves(
  policy: Policy,
  latents: Tensor,
  timestep: Tensor,
  condition: readonly Tensor[],
  { unconditional, detached }: Guidance,
): [unconditional: Tensor, conditional: Tensor] {
  // A sample's bits do not depend on its batch, so two passes give what one gives, and the first stores no activations.
  if (detached) {
    return [noGrad(() => policy(latents, timestep, unconditional)), policy(latents, timestep, condition)];
  }
  const samples = latents.shape[0]!;
  const both = condition.map((rows, i) => concat([unconditional[i]!, rows], 0));
  const times = timestep.shape[0] === 1 ? timestep : concat([timestep, timestep], 0);
  const [first, second] = split(policy(concat([latents, latents], 0), times, both), [samples, samples], 0);
  return [first!, second!];
}

export interface Guidance {
  readonly scale: number;
  /** What the condition is for the empty prompt, of the same shapes. */
  readonly unconditional: readonly Tensor[];
  /** No gradient flows through the unconditional half (Flow-GRPO), which then costs a pass without a backward. Default false. */
  readonly detached?: boolean;
}

/** What a call of the sampler may be given besides latents and steps. */
export interface SampleOptions {
  /** Replaces the condition of the call before. */
  readonly condition?: readonly Tensor[];
  /** A seed for each sample, for steps with noise: a sample's noise is a function of its seed and the step alone. */
  readonly seeds?: readonly number[];
  /** Called after each step, with the number of those done. Given one, every step is waited for. */
  readonly onStep?: (step: number) => void;
}

/** The tensors of a sampler, and how its step is captured: once for steps that clip nothing, once for each range of others. */
interface Captured {
  readonly latents: Tensor;
  readonly timestep: Tensor;
  readonly coefficients: Tensor;
  readonly clips: Tensor;
  readonly keys: Tensor;
  readonly counter: Tensor;
}

export interface SamplerOptions {
  /** The range of steps that clip the clean sample, captured at once. Default: steps that clip nothing. */
  readonly clip?: number | undefined;
}

/** A sampler of one batch size: its step is captured once and replayed for every step of every batch. */
export class Sampler {
  private constructor(
    private readonly tensors: Captured,
    private readonly condition: readonly Tensor[],
    private readonly captured: Map<number | undefined, Step<void>>,
    private readonly captureStep: (clip: number | undefined) => Promise<Step<void>>,
  ) {}

  /** Captures a step. `condition` (and the guidance's) must be tensors made outside; sample() writes over the first. */
  static create(
    device: Device,
    policy: Policy,
    shape: readonly number[],
    condition: readonly Tensor[],
    guidance?: Guidance,
    { clip }: SamplerOptions = {},
  ): Promise<Sampler> {
    return owning(async (own) => {
      const samples = shape[0]!;
      const latents = own(zeros(device, shape));
      const timestep = own(tensor(device, [0]));
      const coefficients = own(zeros(device, [samples, gaussianColumns]));
      const clips = own(zeros(device, [samples, clipColumns]));
      const keys = own(zeros(device, [samples, 2], 'u32'));
      const counter = own(zeros(device, [1], 'u32'));
      const captureStep = (range: number | undefined): Promise<Step<void>> =>
        capture(device, () =>
          noGrad(() => {
            const prediction = guided(policy, latents, timestep, condition, guidance);
            const taken = clipped(latents, prediction, range === undefined ? undefined : { rows: clips, range });
            // Drawn for deterministic steps too, which multiply it by 0: next to the network it costs nothing.
            const noise = normal(keys, counter, shape);
            assign(latents, gaussianNext(latents, taken, noise, coefficients));
          }),
        );
      const captured = new Map([[clip, await captureStep(clip)]]);
      return new Sampler({ latents, timestep, coefficients, clips, keys, counter }, condition, captured, captureStep);
    });
  }

  /** Runs all steps from the given latents; the result is the sampler's own tensor, overwritten by the next call. */
  async sample(
    initial: Tensor,
    steps: readonly SamplingStep[],
    { condition, seeds, onStep }: SampleOptions = {},
  ): Promise<Tensor> {
    const { latents, timestep: time, coefficients, clips, keys, counter } = this.tensors;
    const samples = latents.shape[0]!;
    check(steps.length > 0, 'sample: expected at least one step');
    check(
      seeds ? seeds.length === samples : steps.every(({ step }) => step.std === 0),
      () => `sample: steps with noise need ${samples} seeds, found ${seeds?.length ?? 'none'}`,
    );
    assign(latents, initial);
    condition?.forEach((rows, i) => {
      assign(this.condition[i]!, rows);
    });
    if (seeds) keys.write(keysOf(seeds));
    for (const [i, { timestep, step, clip }] of steps.entries()) {
      const captured = await this.stepOf(clip?.range);
      time.write([timestep]);
      counter.write([i + 1]);
      coefficients.write(packGaussianCoefficients(Array(samples).fill(step)));
      if (clip) clips.write(packClippedMeans(Array(samples).fill(clip)));
      captured.run();
      if (onStep) {
        await latents.device.sync();
        onStep(i + 1);
      }
    }
    return latents;
  }

  private async stepOf(clip: number | undefined): Promise<Step<void>> {
    const found = this.captured.get(clip) ?? (await this.captureStep(clip));
    this.captured.set(clip, found);
    return found;
  }

  dispose(): void {
    for (const thing of [...this.captured.values(), ...Object.values(this.tensors)]) thing.dispose();
  }
}
