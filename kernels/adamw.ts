/** Plans of the optimizer: square sums of gradients, what a step shares, the update of one parameter. */
import { elementTypes, linearGrid, type Plan } from './kernel.js';

/** Elements that one partial sum of square_sum.wgsl covers. */
const chunk = 16_384;

const widthOf = (size: number): 1 | 4 => (size % 4 === 0 ? 4 : 1);

/** Number of partial sums of a gradient of `size` elements. */
export const squareSumChunks = (size: number): number => Math.ceil(size / chunk);

/** Partial sums of x^2, written from partial number `start` on. */
export function planSquareSum(size: number, start: number): Plan {
  const width = widthOf(size);
  const { V, F } = elementTypes('f32', width);
  const chunks = squareSumChunks(size);
  return {
    kernel: 'square_sum',
    variant: {
      types: { V, F, S: 'f32' },
      constants: { WIDTH: width },
      declarations: [`#include "lib/fold${width}.wgsl"`],
    },
    params: { count: size / width, chunks, start },
    grid: linearGrid(chunks),
  };
}

export interface AdamWPlanOptions {
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
}

/** The norm of all gradients from their `partials` square sums, the step count and the factors of the update. */
export function planAdamWStep(partials: number, [beta1, beta2]: readonly [number, number], maxNorm?: number): Plan {
  return {
    kernel: 'adamw_step',
    variant: {},
    params: {
      partials,
      clips: maxNorm === undefined ? 0 : 1,
      max_norm: maxNorm ?? 0,
      log_beta1: Math.log(beta1),
      log_beta2: Math.log(beta2),
    },
    grid: [1, 1, 1],
  };
}

/** The update of one parameter of `size` elements. */
export function planAdamW(size: number, { betas: [beta1, beta2], eps, weightDecay }: AdamWPlanOptions): Plan {
  const width = widthOf(size);
  const { V, F } = elementTypes('f32', width);
  const count = size / width;
  return {
    kernel: 'adamw',
    variant: { types: { V, F } },
    params: {
      count,
      one_minus_beta1: 1 - beta1,
      one_minus_beta2: 1 - beta2,
      eps,
      weight_decay: weightDecay,
    },
    grid: linearGrid(Math.ceil(count / 256)),
  };
}
