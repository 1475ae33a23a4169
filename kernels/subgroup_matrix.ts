/** What kernels on lib/tile_product.wgsl share: when they run, their tile, and their part of a variant. */
import type { Features, Variant } from './kernel.js';

/**
 * The sums a workgroup computes. Each matrix that a subgroup loads is used as often as its quarter of the tile has matrices
 * across, and loads from workgroup memory keep up with the products from four on: so 128 wide, where there are columns for it.
 */
export function subgroupMatrixTile(columns: number): { readonly rows: number; readonly columns: number } {
  const edge = columns > 64 ? 128 : 64;
  return { rows: edge, columns: edge };
}

/** With subgroup matrices, or with subgroups into whose lanes a row of 16 divides: the stand-in that tests use needs that. */
export function runsSubgroupMatrices({ f16, subgroups, subgroupSize, subgroupMatrix }: Features): boolean {
  return f16 && subgroups && (subgroupMatrix || 16 % subgroupSize === 0);
}

/** What lib/tile_product.wgsl asks for, where a row of the result has `columns`. */
export function subgroupMatrixVariant(columns: number, { subgroupSize, subgroupMatrix }: Features) {
  const tile = subgroupMatrixTile(columns);
  return {
    types: { H: 'f16' },
    constants: { SUBGROUP: subgroupSize, TILE_M: tile.rows, TILE_N: tile.columns, TILE_K: 32 },
    declarations: [`#include "lib/matrix_${subgroupMatrix ? 'subgroup' : 'shuffle'}.wgsl"`],
    subgroups: true,
    subgroupMatrix,
    uniform: [subgroupMatrix ? 'chromium.subgroup_matrix_uniformity' : 'subgroup_uniformity'],
  } as const satisfies Variant;
}
