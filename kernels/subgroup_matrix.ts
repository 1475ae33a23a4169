/** What kernels on lib/tile_product.wgsl share: their tile, and their part of a variant. */
import type { Features, Variant } from './kernel.js';

/**
 * The sums a workgroup computes. Each matrix that a subgroup loads is used as often as its quarter of the tile has matrices
 * across, and loads from workgroup memory keep up with the products from four on: so 128 wide, where there are columns for it.
 */
export function subgroupMatrixTile(columns: number): { readonly rows: number; readonly columns: number } {
  const edge = columns > 64 ? 128 : 64;
  return { rows: edge, columns: edge };
}

/** What lib/tile_product.wgsl asks for, where a row of the result has `columns`. */
export function subgroupMatrixVariant(columns: number, { subgroupSize, subgroupMatrix }: Features) {
  const tile = subgroupMatrixTile(columns);
  const native = subgroupMatrix === 'native';
  return {
    types: { H: 'f16' },
    constants: { SUBGROUP: subgroupSize, TILE_M: tile.rows, TILE_N: tile.columns, TILE_K: 32 },
    declarations: [`#include "lib/matrix_${native ? 'subgroup' : 'shuffle'}.wgsl"`],
    subgroups: true,
    subgroupMatrix: native,
    uniform: [native ? 'chromium.subgroup_matrix_uniformity' : 'subgroup_uniformity'],
  } as const satisfies Variant;
}

/** Whether subgroup matrices multiply operands of these types: they would round f32. */
export function suitsSubgroupMatrices(
  { f16, subgroups, subgroupMatrix }: Features,
  operands: readonly string[],
): boolean {
  return f16 && subgroups && subgroupMatrix !== null && operands.every((dtype) => dtype === 'f16');
}
