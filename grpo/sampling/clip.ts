/**
 * DDIM's steps whose predicted clean sample is clipped (`clip_sample`): the mean is no longer linear in the latents and the
 * network's output, so it is computed first and takes the output's place in a transition of coefficients 0 and 1.
 */
import {
  add,
  clamp,
  type Device,
  type GaussianCoefficients,
  mul,
  reshape,
  split,
  type Tensor,
  zeros,
} from '../../engine/index.js';
import type { Own } from '../../engine/owning.js';
import { type DdimStep, ddimNoise, ddimPreviewCoefficients } from './step.js';

/** mean = data * clamp(clean.x * latents + clean.v * output, -range, range) + x * latents + v * output. */
export interface ClippedMean {
  readonly range: number;
  readonly clean: { readonly x: number; readonly v: number };
  readonly data: number;
  readonly x: number;
  readonly v: number;
}

/** The same transition for a mean that stands in the place of the network's output. */
export const ofMean = (coefficients: GaussianCoefficients): GaussianCoefficients => ({ ...coefficients, x: 0, v: 1 });

/**
 * The mean of DDIM's step from a clean sample that is clipped to [-range, range], and from the noise as it was predicted, as
 * DDIMScheduler does it: sqrt(alphaNext) clamp(data) + sqrt(1 - alphaNext - std^2) e.
 */
export function ddimClippedMean(step: DdimStep, range: number): ClippedMean {
  const { x, v } = ddimPreviewCoefficients(step.alpha, step.prediction);
  const { direction, noise } = ddimNoise(step);
  const data = Math.sqrt(step.alphaNext);
  return { range, clean: { x, v }, data, x: direction * noise.x, v: direction * noise.v };
}

/** The preview of such a step: the clipped sample itself. */
export const clippedPreview = (mean: ClippedMean): ClippedMean => ({ ...mean, data: 1, x: 0, v: 0 });

/** Number of columns of a tensor of such means [N, 5]. */
export const clipColumns = 5;

/** The values of a tensor of means [N, 5], one row a sample. */
export const packClippedMeans = (rows: readonly ClippedMean[]): number[] =>
  rows.flatMap(({ clean, data, x, v }) => [clean.x, clean.v, data, x, v]);

/** Means [N, 5] as a tensor, and the range that they share. */
export interface ClipRows {
  readonly rows: Tensor;
  readonly range: number;
}

/** Room for the means of `samples` rows, where steps clip as this one does. */
export function clipRows(
  device: Device,
  samples: number,
  clip: ClippedMean | undefined,
  own: Own,
): ClipRows | undefined {
  return clip && { rows: own(zeros(device, [samples, clipColumns])), range: clip.range };
}

/** What a transition takes in the place of the network's output [N, ...]: the clipped mean, or the output where nothing is clipped. */
export function clipped(latents: Tensor, output: Tensor, clip: ClipRows | undefined): Tensor {
  if (!clip) return output;
  const samples = [latents.shape[0]!, ...latents.shape.slice(1).map(() => 1)];
  const columns = split(clip.rows, Array(clipColumns).fill(1), 1).map((column) => reshape(column, samples));
  const [cleanX, cleanV, data, x, v] = columns as [Tensor, Tensor, Tensor, Tensor, Tensor]; // of clipColumns
  const clean = clamp(add(mul(latents, cleanX), mul(output, cleanV)), -clip.range, clip.range);
  return add(mul(clean, data), add(mul(latents, x), mul(output, v)));
}
