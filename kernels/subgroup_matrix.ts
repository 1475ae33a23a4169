/** What kernels of subgroup matrices share: the tile of products, their part of a variant, and when they are taken. */
import type { Features, Variant } from './kernel.js';

/**
 * The sums a workgroup computes. Each matrix that a subgroup loads is used as often as its quarter of the tile has matrices
 * across, and loads from workgroup memory keep up with the products from four on: so 128 wide, where there are columns for it.
 */
export function subgroupMatrixTile(columns: number): { readonly rows: number; readonly columns: number } {
  const edge = columns > 64 ? 128 : 64;
  return { rows: edge, columns: edge };
}

/** What lib/matrix_tiles.wgsl asks for. */
export function subgroupMatrices({ subgroupSize, subgroupMatrix }: Features) {
  const native = subgroupMatrix === 'native';
  return {
    types: { H: 'f16' },
    constants: { SUBGROUP: subgroupSize },
    declarations: [`#include "lib/matrix_${native ? 'subgroup' : 'shuffle'}.wgsl"`],
    subgroups: true,
    subgroupMatrix: native,
    uniform: [native ? 'chromium.subgroup_matrix_uniformity' : 'subgroup_uniformity'],
  } as const satisfies Variant;
}

/** What lib/tile_product.wgsl asks for, where a row of the result has `columns`. */
export function subgroupMatrixVariant(columns: number, features: Features) {
  const tile = subgroupMatrixTile(columns);
  const matrices = subgroupMatrices(features);
  const constants = { ...matrices.constants, TILE_M: tile.rows, TILE_N: tile.columns, TILE_K: 32 };
  return { ...matrices, constants } as const satisfies Variant;
}

/** Whether subgroup matrices multiply operands of these types: they would round f32. */
export function suitsSubgroupMatrices(
  { f16, subgroups, subgroupMatrix }: Features,
  operands: readonly string[],
): boolean {
  return f16 && subgroups && subgroupMatrix !== null && operands.every((dtype) => dtype === 'f16');
}
