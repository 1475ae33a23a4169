// Weight gradient of conv2d (formula and layouts: conv2d_weight_grad_common.wgsl) by subgroup matrices
// (lib/tile_product.wgsl): TILE_M output channels x TILE_N input channels of one tap, a step is TILE_K pixels of a row.
#include "conv2d_weight_grad_common.wgsl"

const LEFT_TRANSPOSED = true;  // dy and x lie as [pixel][channel]
const RIGHT_TRANSPOSED = false;
#include "lib/tile_product.wgsl"

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) of_workgroup: u32, @builtin(subgroup_invocation_id) of_subgroup: u32,
) {
  let index = workgroup_index(workgroup, grid);
  if (index >= params.workgroups) { return; }
  subgroup = of_workgroup;
  subgroup_lane = of_subgroup;
  let tile = tile_of(index);
  let first_o4 = tile.out_channels * (TILE_M / 4u);
  let first_c4 = tile.channels * (TILE_N / 4u);
  var sums = Sums();
  let last = min((tile.part + 1u) * params.rows_per_part, params.rows);
  for (var row = tile.part * params.rows_per_part; row < last; row++) {
    let x_row = source_row(tile, row);
    if (x_row < 0) { continue; }
    for (var column = tile.left; column < tile.right; column += TILE_K) {
      for (var block = lane; block < TILE_K * TILE_M / 4u; block += LANES) {
        let pixel = column + block / (TILE_M / 4u);
        let o4 = first_o4 + block % (TILE_M / 4u);
        var value = vec4f();
        if (pixel < tile.right && o4 < out_channels4()) {
          value = vec4f(dy[(row * params.out_width + pixel) * out_channels4() + o4]);
        }
        put_left(block / (TILE_M / 4u) * LEFT_STRIDE + 4u * (block % (TILE_M / 4u)), value);
      }
      for (var block = lane; block < TILE_K * TILE_N / 4u; block += LANES) {
        let pixel = column + block / (TILE_N / 4u);
        let c4 = first_c4 + block % (TILE_N / 4u);
        var value = vec4f();
        if (pixel < tile.right && c4 < channels4()) {
          value = vec4f(x[(u32(x_row) * params.width + source_column(tile, pixel)) * channels4() + c4]);
        }
        put_right(block / (TILE_N / 4u) * RIGHT_STRIDE + 4u * (block % (TILE_N / 4u)), value);
      }
      workgroupBarrier();
      add_product(&sums);
      workgroupBarrier();
    }
  }
  for (var i = 0u; i < BLOCKS; i++) {
    spill(sums[i]);
    workgroupBarrier();
    for (var block = subgroup_lane; block < 64u; block += SUBGROUP) {
      let c4 = first_c4 + column_of(i) / 4u + block % 4u;
      store(tile, tile.out_channels * TILE_M + row_of(i) + block / 4u, c4, sums_at(block / 4u, 4u * (block % 4u)));
    }
    workgroupBarrier();
  }
}
