/** The plan that looks for NaN and infinity in a tensor. */
import { type DType, linearGrid, type Plan } from './kernel.js';

export function planFinite(count: number, dtype: DType, index: number): Plan {
  const grid = linearGrid(Math.ceil(count / 256));
  return { kernel: 'finite', variant: { types: { T: dtype } }, params: { count, index }, grid };
}
