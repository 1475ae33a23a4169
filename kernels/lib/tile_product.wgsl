// Products of two tiles in workgroup memory by subgroup matrices (lib/matrix_tiles.wgsl).
// A workgroup of 2 x 2 subgroups computes TILE_M x TILE_N sums, a subgroup a quarter of them, TILE_K products each at a time.
// The kernel says const LEFT_TRANSPOSED, RIGHT_TRANSPOSED: the left tile lies as [k][m], the right one as [n][k].
// The variant gives const TILE_M, TILE_N, TILE_K, and what lib/matrix_tiles.wgsl asks for.
const BLOCKS_M = TILE_M / 32u;  // matrices of a subgroup, downwards and sideways
const BLOCKS_N = TILE_N / 32u;
const LEFT_STRIDE = select(TILE_K, TILE_M, LEFT_TRANSPOSED) + PADDING;
const RIGHT_STRIDE = select(TILE_N, TILE_K, RIGHT_TRANSPOSED) + PADDING;
const LEFT_SIZE = select(TILE_M, TILE_K, LEFT_TRANSPOSED) * LEFT_STRIDE;
const RIGHT_SIZE = select(TILE_K, TILE_N, RIGHT_TRANSPOSED) * RIGHT_STRIDE;
const BLOCKS = BLOCKS_M * BLOCKS_N;
const FACTORS = LEFT_SIZE + RIGHT_SIZE;  // the left tile, then the right one
const SUMS = 4u * 256u;  // a matrix of each subgroup's sums, on its way out
#include "lib/matrix_tiles.wgsl"

alias Sums = array<Sum, BLOCKS>;

fn put_left(at: u32, x: vec4f) { put_factors(at, x); }
fn put_right(at: u32, x: vec4f) { put_factors(LEFT_SIZE + at, x); }

// Where the subgroup's matrix i of sums begins in the tile.
fn row_of(i: u32) -> u32 { return subgroup / 2u * (TILE_M / 2u) + i / BLOCKS_N * 16u; }
fn column_of(i: u32) -> u32 { return subgroup % 2u * (TILE_N / 2u) + i % BLOCKS_N * 16u; }

// sums += left tile times right tile.
fn add_product(sums: ptr<function, Sums>) {
  for (var k = 0u; k < TILE_K; k += 16u) {
    var b = array<Right, BLOCKS_N>();
    for (var j = 0u; j < BLOCKS_N; j++) {
      let column = column_of(j);
      let at = select(k * RIGHT_STRIDE + column, column * RIGHT_STRIDE + k, RIGHT_TRANSPOSED);
      b[j] = load_right(LEFT_SIZE + at, RIGHT_STRIDE, RIGHT_TRANSPOSED);
    }
    for (var i = 0u; i < BLOCKS_M; i++) {
      let row = row_of(BLOCKS_N * i);
      let at = select(row * LEFT_STRIDE + k, k * LEFT_STRIDE + row, LEFT_TRANSPOSED);
      let a = load_left(at, LEFT_STRIDE, LEFT_TRANSPOSED);
      for (var j = 0u; j < BLOCKS_N; j++) { sums[BLOCKS_N * i + j] = multiply(a, b[j], sums[BLOCKS_N * i + j]); }
    }
  }
}

// Puts a matrix of sums where `sums_at` reads it: after a barrier, and until the next.
fn spill(sum: Sum) { store_sum(256u * subgroup, 16u, sum); }
// Four neighbours of a row of that matrix.
fn sums_at(row: u32, column: u32) -> vec4f {
  let at = 256u * subgroup + 16u * row + column;
  return vec4f(sum_tile[at], sum_tile[at + 1u], sum_tile[at + 2u], sum_tile[at + 3u]);
}
