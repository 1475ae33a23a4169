/** Plans of group norm: statistics of each channel, then the normalisation; two sums of each channel, then dx. */
import { type DType, elementTypes, type Features, linearGrid, type Plan } from './kernel.js';

/** x as [samples, channels, pixels]. */
export interface GroupNormSize {
  readonly samples: number;
  readonly channels: number;
  readonly pixels: number;
  readonly groups: number;
  readonly dtype: DType;
  /** Element type of weight and bias. */
  readonly weight: DType;
  /** silu after the normalisation. */
  readonly silu: boolean;
}

/** Lanes that share a channel: neighbours on a GPU load neighbouring pixels; on a CPU a lane is a loop of its own. */
function lanesOf(units: number, { software }: Features): { LANES: number; WORKGROUP: number } {
  if (software) return { LANES: 1, WORKGROUP: 8 };
  return units >= 512 ? { LANES: 256, WORKGROUP: 256 } : { LANES: 64, WORKGROUP: 64 };
}

function planRows(kernel: string, size: GroupNormSize, eps: number, features: Features): Plan {
  const { samples, channels, pixels, groups, dtype } = size;
  const width = pixels % 4 === 0 ? 4 : 1;
  const lanes = lanesOf(pixels / width, features);
  const { V, F, U } = elementTypes(dtype, width);
  const rows = samples * channels;
  return {
    kernel,
    variant: {
      types: { V, F, U, S: 'f32' },
      constants: { ...lanes, WIDTH: width },
      declarations: [`#include "lib/fold${width}.wgsl"`],
    },
    params: { rows, pixels: pixels / width, channels, group_channels: channels / groups, eps },
    grid: linearGrid(Math.ceil((rows * lanes.LANES) / lanes.WORKGROUP)),
  };
}

/** Mean and sum of squared deviations of each channel of each sample. */
export const planGroupNormStatistics = (size: GroupNormSize, eps: number, features: Features): Plan =>
  planRows('group_norm_statistics', size, eps, features);

function planNormalised(kernel: string, size: GroupNormSize, eps: number, features: Features): Plan {
  const plan = planRows(kernel, size, eps, features);
  const { variant } = plan;
  const types = { ...variant.types, W: size.weight };
  const constants = { ...variant.constants, SILU: size.silu };
  return { ...plan, variant: { ...variant, types, constants } };
}

/** The normalised y from x and its statistics. */
export const planGroupNorm = (size: GroupNormSize, eps: number, features: Features): Plan =>
  planNormalised('group_norm', size, eps, features);

/** Sums over the pixels of each channel of each sample, from which the parameters' gradients and dx follow. */
export const planGroupNormChannelSums = (size: GroupNormSize, eps: number, features: Features): Plan =>
  planNormalised('group_norm_channel_sums', size, eps, features);

/** The gradient dx from dy, x, its statistics and the channel sums. */
export const planGroupNormGrad = (size: GroupNormSize, eps: number, features: Features): Plan =>
  planNormalised('group_norm_grad', size, eps, features);
