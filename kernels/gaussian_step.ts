/** Plans of Gaussian sampling steps, their log probabilities and the gradient. All f32. */
import { elementTypes, linearGrid, type Plan } from './kernel.js';

/** Elements of one chunk, the unit of a workgroup. */
const chunk = 4096;

/** Number of chunks of a sample of `size` elements. */
export const gaussianChunks = (size: number): number => Math.ceil(size / chunk);

function planChunks(
  kernel: string,
  samples: number,
  size: number,
  flags: Readonly<Record<string, boolean>> = {},
): Plan {
  const width = size % 4 === 0 ? 4 : 1;
  const chunks = gaussianChunks(size);
  const { V, F } = elementTypes('f32', width);
  return {
    kernel,
    variant: {
      types: { V, F, S: 'f32' },
      constants: { WIDTH: width, ...flags },
      declarations: [`#include "lib/fold${width}.wgsl"`],
    },
    params: { samples, size: size / width, chunks },
    grid: linearGrid(samples * chunks),
  };
}

/** next = a x + b v + std noise. */
export const planGaussianStep = (samples: number, size: number, noise: boolean): Plan =>
  planChunks('gaussian_step', samples, size, { HAS_NOISE: noise });

/** The mean, and the partial sums of its squared distance from next. */
export const planGaussianLogProb = (samples: number, size: number): Plan =>
  planChunks('gaussian_log_prob', samples, size);

/** The log probabilities from the partial sums. */
export function planGaussianLogProbJoin(samples: number, size: number): Plan {
  const plan = planChunks('gaussian_log_prob_join', samples, size);
  const { constants } = plan.variant;
  return { ...plan, variant: { constants: constants! }, grid: linearGrid(Math.ceil(samples / 64)) };
}

/** The gradient to v, from those of the outputs that have one. */
export const planGaussianLogProbGrad = (
  samples: number,
  size: number,
  given: { readonly logProb: boolean; readonly mean: boolean },
): Plan => planChunks('gaussian_log_prob_grad', samples, size, { HAS_LOG_PROB: given.logProb, HAS_MEAN: given.mean });
