// y = activate(op(a) op(b) + bias) + residual by subgroup matrices (lib/tile_product.wgsl): the operands are rounded to f16,
// sums are f32. Tiles of op(a) and op(b) go through workgroup memory, as they are stored, so that edges, f32 operands and
// rows of any length are the loads' business; so do the sums, for the epilogue.
#include "lib/matmul.wgsl"

const LEFT_TRANSPOSED = TRANSPOSE_A;
const RIGHT_TRANSPOSED = TRANSPOSE_B;
#include "lib/tile_product.wgsl"

fn stage_left(tile: Tile, k: u32, block: u32) {
  if (TRANSPOSE_A) {
    let row = 4u * (block % (TILE_M / 4u));
    let step = block / (TILE_M / 4u);
    put_left(step * LEFT_STRIDE + row, a_along_m(tile, tile.row + row, k + step));
  } else {
    let row = block / (TILE_K / 4u);
    let step = 4u * (block % (TILE_K / 4u));
    put_left(row * LEFT_STRIDE + step, a_along_k(tile, tile.row + row, k + step));
  }
}
fn stage_right(tile: Tile, k: u32, block: u32) {
  if (TRANSPOSE_B) {
    let column = block / (TILE_K / 4u);
    let step = 4u * (block % (TILE_K / 4u));
    put_right(column * RIGHT_STRIDE + step, b_along_k(tile, k + step, tile.column + column));
  } else {
    let column = 4u * (block % (TILE_N / 4u));
    let step = block / (TILE_N / 4u);
    put_right(step * RIGHT_STRIDE + column, b_along_n(tile, k + step, tile.column + column));
  }
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) of_workgroup: u32, @builtin(subgroup_invocation_id) of_subgroup: u32,
) {
  let tile = locate(workgroup_index(workgroup, grid), TILE_M, TILE_N);
  if (tile.batch >= params.batch) { return; }
  subgroup = of_workgroup;
  subgroup_lane = of_subgroup;
  var sums = Sums();
  for (var k = 0u; k < params.k; k += TILE_K) {
    for (var block = lane; block < TILE_M * TILE_K / 4u; block += LANES) { stage_left(tile, k, block); }
    for (var block = lane; block < TILE_N * TILE_K / 4u; block += LANES) { stage_right(tile, k, block); }
    workgroupBarrier();
    add_product(&sums);
    workgroupBarrier();
  }
  for (var i = 0u; i < BLOCKS; i++) {
    spill(sums[i]);
    workgroupBarrier();
    for (var block = subgroup_lane; block < 64u; block += SUBGROUP) {
      let row = block / 4u;
      let column = 4u * (block % 4u);
      let at = tile.column + column_of(i) + column;
      let y_row = tile.row + row_of(i) + row;
      finish(tile, y_row, at, sums_at(row, column), bias_at(at), gate_row(y_row));
    }
    workgroupBarrier();
  }
}
