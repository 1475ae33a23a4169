/** Plans for matrix products: the choice among kernels, batches with broadcasting, weights bound in ranges. */
import { chosenKernel, type ShapeClass } from './choice.js';
import { mergeAxes } from './elementwise.js';
import { type DType, elementTypes, type Features, linearGrid, type Plan, type Variant } from './kernel.js';
import { subgroupMatrixTile, subgroupMatrixVariant, suitsSubgroupMatrices } from './subgroup_matrix.js';

/** The functions an epilogue can apply, by their names in lib/elementwise.wgsl. */
export const activations = {
  silu: 'silu',
  gelu: 'gelu',
  geluTanh: 'gelu_tanh',
  quickGelu: 'quick_gelu',
  relu: 'relu',
} as const;
export type Activation = keyof typeof activations;

/** y = gate activation(op(a) op(b) + bias) + residual, with op(a) [..., m, k], op(b) [..., k, n] and y [..., m, n]. */
export interface MatmulProblem {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** a is stored [..., k, m]. */
  readonly transposeA?: boolean;
  /** b is stored [..., n, k]. */
  readonly transposeB?: boolean;
  readonly a: DType;
  readonly b: DType;
  /** Element type of y, residual and preactivation. */
  readonly y: DType;
  readonly bias?: DType | undefined;
  readonly activation?: Activation | undefined;
  /** Rows of the gate [gateRows, columns of y], of y's element type: row i of y is multiplied by row i % gateRows. */
  readonly gateRows?: number | undefined;
  readonly residual?: boolean;
  /** Also write op(a) op(b) + bias, which the activation's gradient needs. */
  readonly savePreactivation?: boolean;
  /** Add to what y holds. */
  readonly accumulate?: boolean;
  /** The batch axes of a and b, which broadcast; default none. */
  readonly batch?: { readonly a: readonly number[]; readonly b: readonly number[]; readonly y: readonly number[] };
  /** Where a holds more columns than used: its number of columns, and the first one used. */
  readonly aColumns?: { readonly all: number; readonly first: number };
  /** Where y holds more columns than this product writes: its number of columns, and the first one written. */
  readonly yColumns?: { readonly all: number; readonly first: number };
  /** y, residual and preactivation are that many matrices [m, columns / parts], one after the other; this can't be combined with a batch or a gate. */
  readonly parts?: number | undefined;
}

/** What overrides the planner's own choice. */
export interface MatmulTuning {
  readonly kernel?: MatmulKernel;
  /** Largest binding of a weight in bytes; default the device's limit. */
  readonly bindingBytes?: number;
}

/** What one workgroup computes of y, and the kernel's own part of the variant. */
interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly variant: Variant;
}

type Operands = Pick<MatmulProblem, 'a' | 'b' | 'transposeA'>;

interface KernelRow {
  readonly tile: (problem: Pick<MatmulProblem, 'n' | 'transposeA'>, features: Features) => Tile;
  /** The kernel can run. */
  readonly runs: (features: Features) => boolean;
  /** The kernel is the planner's choice, unless one above it is. */
  readonly preferred: (features: Features, operands: Operands) => boolean;
}

/**
 * The kernels, in order of preference. The choice looks at the device and the operands' layout and dtypes alone, never at m
 * or the batch (choice.ts says why).
 */
const kernels = {
  // Rounds its operands to f16, so it is for those that are.
  matmul_subgroup_matrix: {
    tile: ({ n }, features) => ({ ...subgroupMatrixTile(n), variant: subgroupMatrixVariant(n, features) }),
    runs: (features) => suitsSubgroupMatrices(features, []),
    preferred: (features, { a, b }) => suitsSubgroupMatrices(features, [a, b]),
  },
  // lavapipe, 1024^3: 4 to 5 times faster than the tiled kernel, as shared memory there is loaded lane by lane, too.
  matmul_subgroup: {
    tile: ({ transposeA }, { subgroupSize }) => {
      // More rows, and the loop over k no longer fits the instruction cache: 32 take three times as long.
      const rows = transposeA ? 16 : 24;
      const variant = { constants: { SUBGROUP: subgroupSize, ROWS: rows }, subgroups: true };
      return { rows, columns: 4 * subgroupSize, variant };
    },
    runs: ({ subgroups, subgroupSize }) => subgroups && subgroupSize >= 4,
    preferred: ({ software }) => software,
  },
  matmul_tiled: {
    tile: () => ({ rows: 64, columns: 64, variant: {} }),
    runs: () => true,
    preferred: () => true,
  },
} as const satisfies Record<string, KernelRow>;
export type MatmulKernel = keyof typeof kernels;

const kernelNames = Object.keys(kernels) as MatmulKernel[];

const classOf = ({ b, transposeA = false }: Operands): ShapeClass =>
  transposeA ? 'matmul_transposed' : b === 'f16' ? 'matmul_f16_weight' : 'matmul';

/** The kernels that run on a device and keep every bit of f32 operands: among these measuring may choose. */
export const matmulCandidates = (features: Features): MatmulKernel[] =>
  kernelNames.filter((name) => name !== 'matmul_subgroup_matrix' && kernels[name].runs(features));

/**
 * The kernel for a device: the one that `tuning` names; where an operand is f32 the one that was measured to be the fastest;
 * else the first of the table that runs and is preferred.
 */
export function chooseMatmulKernel(features: Features, operands: Operands, tuning: MatmulTuning = {}): MatmulKernel {
  if (tuning.kernel && !kernels[tuning.kernel].runs(features)) throw new Error(`${tuning.kernel} does not run here`);
  if (tuning.kernel) return tuning.kernel;
  const first = kernelNames.find((name) => {
    const row: KernelRow = kernels[name];
    return row.runs(features) && row.preferred(features, operands);
  })!;
  if (first === 'matmul_subgroup_matrix') return first;
  return chosenKernel(features, classOf(operands), matmulCandidates(features)) ?? first;
}

/** The type of the array that lib/matmul_*_f16.wgsl and their twins for f32 read: f16 comes in words. */
function loadType(dtype: DType, width: 1 | 4): string {
  if (dtype === 'f16') return width === 4 ? 'vec2u' : 'u32';
  return width === 4 ? 'vec4f' : 'f32';
}

/** The plan of one product. Throws when the batch axes do not merge into two; expand one of the inputs then. */
export function planMatmul(problem: MatmulProblem, features: Features, tuning: MatmulTuning = {}): Plan {
  const { m, n, k, transposeA = false, transposeB = false, batch = { a: [], b: [], y: [] } } = problem;
  const { a, b, y, bias = 'f32', activation, gateRows, parts = 1 } = problem;
  const aColumns = problem.aColumns ?? { all: transposeA ? m : k, first: 0 };
  const yColumns = problem.yColumns ?? { all: n, first: 0 };
  const kernel = chooseMatmulKernel(features, problem, tuning);
  const tile = (kernels[kernel] as KernelRow).tile(problem, features);

  const { sizes, strides } = mergeAxes(batch.y, [batch.a, batch.b]);
  if (sizes.length > 2)
    throw new Error(`batch axes [${batch.a}] and [${batch.b}] merge into ${sizes.length}, 2 at most`);
  const [aStrides, bStrides] = strides as [number[], number[]];
  const aMatrix = aColumns.all * (transposeA ? k : m);
  const bStride = transposeB ? k : n;

  // m counts only where it is the length of a transposed a's stored rows: a batch is never part of that, as it is no last axis.
  const partColumns = yColumns.all / parts;
  const lengths = [aColumns.all, aColumns.first, transposeA ? m : k, bStride, n, partColumns, yColumns.first];
  const width = lengths.every((length) => length % 4 === 0) ? 4 : 1;
  const matrices = sizes.reduce((product, size) => product * size, 1);
  const rowTiles = Math.ceil(m / tile.rows);
  const columnTiles = Math.ceil(n / tile.columns);
  return {
    kernel,
    variant: {
      ...tile.variant,
      types: {
        A: loadType(a, width),
        B: loadType(b, width),
        BIAS: loadType(bias, width),
        Y: elementTypes(y, width).V,
        L: width === 4 ? 'vec4f' : 'f32',
        F: 'vec4f',
        U: 'vec4u',
        ...tile.variant.types,
      },
      constants: {
        ...tile.variant.constants,
        TRANSPOSE_A: transposeA,
        TRANSPOSE_B: transposeB,
        HAS_BIAS: problem.bias !== undefined,
        HAS_GATE: gateRows !== undefined,
        HAS_RESIDUAL: problem.residual ?? false,
        ACCUMULATE: problem.accumulate ?? false,
      },
      declarations: [
        `#include "lib/half${width}.wgsl"`,
        `#include "lib/matmul_a_${a}.wgsl"`,
        `#include "lib/matmul_b_${b}.wgsl"`,
        `#include "lib/matmul_bias_${bias}.wgsl"`,
        `fn activate(x: F) -> F { return ${activation ? activations[activation] : 'identity'}(x); }`,
        `#include "lib/matmul_vec${width}.wgsl"`,
        ...(tile.variant.declarations ?? []),
      ],
    },
    params: {
      m,
      n,
      k,
      a_stride: aColumns.all,
      b_stride: bStride,
      y_stride: partColumns,
      a_offset: aColumns.first,
      y_column: yColumns.first,
      row_tiles: rowTiles,
      column_tiles: columnTiles,
      batch: matrices,
      batch_inner: sizes[0]!,
      a_inner: aStrides[0]! * aMatrix,
      a_outer: (aStrides[1] ?? 0) * aMatrix,
      b_inner: bStrides[0]! * n * k,
      b_outer: (bStrides[1] ?? 0) * n * k,
      part: partColumns,
      part_step: m * partColumns,
      gate_rows: gateRows ?? 1,
      save_preactivation: problem.savePreactivation ? 1 : 0,
    },
    grid: linearGrid(rowTiles * columnTiles * matrices),
  };
}

/** Consecutive rows of a matrix. */
export interface RowRange {
  readonly start: number;
  readonly rows: number;
}

/**
 * Ranges of rows that cover a matrix, each at most `bindingBytes` large and starting at a multiple of `alignment` bytes
 * and of four rows, so that a range can be bound. One range where the matrix fits. Throws where four rows do not fit.
 */
export function planRowRanges(rows: number, rowBytes: number, bindingBytes: number, alignment: number): RowRange[] {
  if (rows * rowBytes <= bindingBytes) return [{ start: 0, rows }];
  let unit = 4;
  while ((unit * rowBytes) % alignment !== 0) unit += 4;
  const most = Math.floor(bindingBytes / (unit * rowBytes)) * unit;
  if (most === 0)
    throw new Error(`${unit} rows of ${rowBytes} bytes do not fit into a binding of ${bindingBytes} bytes`);
  return Array.from({ length: Math.ceil(rows / most) }, (_, i) => ({
    start: i * most,
    rows: Math.min(most, rows - i * most),
  }));
}
