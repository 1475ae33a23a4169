/** Plans of the two kernels that measure what a device can do at best: multiply-adds from registers, and a copy. */
import { linearGrid, type Plan } from './kernel.js';

const lanes = 256;
const fmasPerRound = 96; // in the text of peak_fma.wgsl
const workgroups = 1024;

/** Elements of the result of peak_fma. */
export const peakFmaSize = workgroups * lanes;

/** `rounds` turns of the multiply-add loop in every lane of a grid that fills any device. */
export function planPeakFma(rounds: number): Plan & { readonly flops: number } {
  return {
    kernel: 'peak_fma',
    variant: {},
    params: { rounds, scale: 0.5, offset: 0.5 },
    grid: [workgroups, 1, 1],
    flops: 2 * fmasPerRound * rounds * peakFmaSize,
  };
}

/** A copy of `size` vec4s. `bytes` counts reading and writing. */
export function planPeakCopy(size: number): Plan & { readonly bytes: number } {
  return {
    kernel: 'peak_copy',
    variant: {},
    params: { size },
    grid: linearGrid(Math.ceil(size / (8 * lanes))),
    bytes: 32 * size,
  };
}
