/** Plans of the resampling ops: sums over boxes of pixels, and patches. */
import { type DType, type Features, linearGrid, type Plan } from './kernel.js';

/** Height and width of an image. */
export interface ImageSize {
  readonly height: number;
  readonly width: number;
}

/** How a result pixel chooses its box of source pixels: a function of resample.wgsl. */
export type ResampleBox = 'nearest' | 'nearest_grad' | 'pool' | 'pool_grad' | 'strided' | 'strided_grad';

export interface ResampleOptions {
  readonly box: ResampleBox;
  /** Pixels of a pool's window, or of a stride, along each axis. Default 1. */
  readonly factor?: number;
  /** Factor of the sum over the box. Default 1. */
  readonly scale?: number;
}

/** result [planes, height, width] from source [planes, height, width]. */
export function planResample(
  planes: number,
  source: ImageSize,
  result: ImageSize,
  dtype: DType,
  { box, factor = 1, scale = 1 }: ResampleOptions,
  { software }: Pick<Features, 'software'>,
): Plan {
  const run = software ? 16 : 1;
  const runs = Math.ceil(result.width / run);
  const count = planes * result.height * runs;
  return {
    kernel: 'resample',
    variant: {
      types: { T: dtype },
      constants: { RUN: run },
      declarations: [`fn box(i: u32, source: u32, result: u32) -> vec2u { return ${box}(i, source, result); }`],
    },
    params: {
      count,
      runs,
      source_height: source.height,
      source_width: source.width,
      result_height: result.height,
      result_width: result.width,
      factor,
      scale,
    },
    grid: linearGrid(Math.ceil(count / 256)),
  };
}

/** Patches of an image [batch, channels, height, width], or with `inverse` the image from its patches. */
export function planPatch(
  shape: readonly [number, number, number, number],
  patch: number,
  dtype: DType,
  inverse: boolean,
): Plan {
  const [batch, channels, height, width] = shape;
  const count = batch * channels * height * width;
  return {
    kernel: 'resample_patch',
    variant: { types: { T: dtype }, constants: { INVERSE: inverse } },
    params: { count, channels, height, width, patch_size: patch },
    grid: linearGrid(Math.ceil(count / 256)),
  };
}
