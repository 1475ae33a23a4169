// y = gate activate(op(a) op(b) + bias) + residual with tiles in shared memory: one workgroup computes TILE_M x TILE_N, a lane
// 8 rows x 4 columns of it, summed in f32 in registers. For TILE_K of k at a time the workgroup copies its parts of
// op(a) and op(b) in blocks of 4 x 4, transposed where need be, so that both are read four wide along m and n.
#include "lib/matmul.wgsl"

const TILE_M = 64u;
const TILE_N = 64u;
const TILE_K = 16u;
const LANES = TILE_M / 8u * TILE_N / 4u;
const BLOCKS_M = TILE_M / 4u;
const BLOCKS_N = TILE_N / 4u;
const BLOCKS_K = TILE_K / 4u;

var<workgroup> a_tile: array<array<vec4f, BLOCKS_M>, TILE_K>;  // [k][row / 4]
var<workgroup> b_tile: array<array<vec4f, BLOCKS_N>, TILE_K>;  // [k][column / 4]

// op(a)[row..row+3, k..k+3], a vector along the rows for each k.
fn a_block(tile: Tile, row: u32, k: u32) -> mat4x4f {
  if (TRANSPOSE_A) {
    return mat4x4f(a_along_m(tile, row, k), a_along_m(tile, row, k + 1u), a_along_m(tile, row, k + 2u), a_along_m(tile, row, k + 3u));
  }
  return transpose(mat4x4f(a_along_k(tile, row, k), a_along_k(tile, row + 1u, k), a_along_k(tile, row + 2u, k), a_along_k(tile, row + 3u, k)));
}
// op(b)[k..k+3, column..column+3], a vector along the columns for each k.
fn b_block(tile: Tile, k: u32, column: u32) -> mat4x4f {
  if (TRANSPOSE_B) {
    return transpose(mat4x4f(b_along_k(tile, k, column), b_along_k(tile, k, column + 1u), b_along_k(tile, k, column + 2u), b_along_k(tile, k, column + 3u)));
  }
  return mat4x4f(b_along_n(tile, k, column), b_along_n(tile, k + 1u, column), b_along_n(tile, k + 2u, column), b_along_n(tile, k + 3u, column));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let tile = locate(workgroup_index(workgroup, grid), TILE_M, TILE_N);
  if (tile.batch >= params.batch) { return; }
  let lane_row = lane / BLOCKS_N * 2u;  // in blocks of four rows
  let lane_column = lane % BLOCKS_N;
  var sums: array<vec4f, 8>;
  for (var k = 0u; k < params.k; k += TILE_K) {
    for (var block = lane; block < (BLOCKS_M + BLOCKS_N) * BLOCKS_K; block += LANES) {
      if (block < BLOCKS_M * BLOCKS_K) {
        let row = block / BLOCKS_K;
        let step = block % BLOCKS_K * 4u;
        let part = a_block(tile, tile.row + 4u * row, k + step);
        for (var i = 0u; i < 4u; i++) { a_tile[step + i][row] = part[i]; }
      } else {
        let column = (block - BLOCKS_M * BLOCKS_K) % BLOCKS_N;
        let step = (block - BLOCKS_M * BLOCKS_K) / BLOCKS_N * 4u;
        let part = b_block(tile, k + step, tile.column + 4u * column);
        for (var i = 0u; i < 4u; i++) { b_tile[step + i][column] = part[i]; }
      }
    }
    workgroupBarrier();
    for (var i = 0u; i < TILE_K; i++) {
      let x = b_tile[i][lane_column];
      let s = a_tile[i][lane_row];
      let t = a_tile[i][lane_row + 1u];
      sums[0] += s.x * x;
      sums[1] += s.y * x;
      sums[2] += s.z * x;
      sums[3] += s.w * x;
      sums[4] += t.x * x;
      sums[5] += t.y * x;
      sums[6] += t.z * x;
      sums[7] += t.w * x;
    }
    workgroupBarrier();
  }
  let column = tile.column + 4u * lane_column;
  let bias = bias_at(column);
  var gated = gate_row(tile.row + 4u * lane_row);
  for (var i = 0u; i < 8u; i++) {
    finish(tile, tile.row + 4u * lane_row + i, column, sums[i], bias, gated);
    gated = next_gate_row(gated);
  }
}
