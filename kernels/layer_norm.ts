/** Plans of layer norm and RMS norm, over the last axis, with AdaLN's modulation fused. */
import { type DType, elementTypes, type Features, linearGrid, type Plan } from './kernel.js';

/** x as rows, and what is applied to them. */
export interface LayerNormSize {
  readonly rows: number;
  readonly columns: number;
  /** Rows of scale and shift: row i of x is of sample i % samples. 1 where there is no modulation. */
  readonly samples: number;
  readonly dtype: DType;
  /** Element type of weight and bias; undefined where there is none. */
  readonly weight: DType | undefined;
  readonly bias: boolean;
  /** Element type of scale and shift. */
  readonly modulation: DType | undefined;
  /** Layer norm; without it RMS norm. */
  readonly centered: boolean;
}

/** Rows that one partial column sum covers. */
const chunk = 64;

/** Lanes that share a row: neighbours on a GPU load neighbouring columns; on a CPU a lane is a loop of its own. */
const lanesOf = (features: Features): { LANES: number; WORKGROUP: number } =>
  features.software ? { LANES: 1, WORKGROUP: 8 } : { LANES: 64, WORKGROUP: 64 };

function planRows(
  kernel: string,
  size: LayerNormSize,
  features: Features,
  more: Readonly<Record<string, number>>,
): Plan {
  const { rows, columns, samples, centered } = size;
  const width = columns % 4 === 0 ? 4 : 1;
  const lanes = lanesOf(features);
  const { V, F } = elementTypes(size.dtype, width);
  return {
    kernel,
    variant: {
      types: {
        V,
        F,
        S: 'f32',
        W: elementTypes(size.weight ?? 'f32', width).V,
        M: elementTypes(size.modulation ?? 'f32', width).V,
      },
      constants: {
        ...lanes,
        WIDTH: width,
        CENTERED: centered,
        HAS_WEIGHT: size.weight !== undefined,
        HAS_BIAS: size.bias,
        MODULATED: size.modulation !== undefined,
      },
      declarations: [`#include "lib/fold${width}.wgsl"`],
    },
    params: { rows, columns: columns / width, samples, ...more },
    grid: linearGrid(Math.ceil((rows * lanes.LANES) / lanes.WORKGROUP)),
  };
}

/** y and the statistics of each row. */
export const planLayerNorm = (size: LayerNormSize, eps: number, features: Features): Plan =>
  planRows('layer_norm', size, features, { eps });

/** The gradient dx from dy, x and the statistics of each row. */
export const planLayerNormGrad = (size: LayerNormSize, features: Features): Plan =>
  planRows('layer_norm_grad', { ...size, bias: false }, features, {});

/** Number of chunks in which the rows of one sample are summed. */
export const columnSumChunks = ({ rows, samples }: LayerNormSize): number => Math.ceil(rows / samples / chunk);

/** Sums of dy and dy * xhat over the rows of each chunk. */
export function planLayerNormColumnSums(size: LayerNormSize): Plan {
  const { rows, columns, samples, dtype } = size;
  const width = columns % 4 === 0 ? 4 : 1;
  const { V, F } = elementTypes(dtype, width);
  const chunks = columnSumChunks(size);
  const count = (samples * chunks * columns) / width;
  return {
    kernel: 'layer_norm_column_sums',
    variant: { types: { V, F } },
    params: { columns: columns / width, samples, rows_per_sample: rows / samples, chunks, count },
    grid: linearGrid(Math.ceil(count / 32)),
  };
}
