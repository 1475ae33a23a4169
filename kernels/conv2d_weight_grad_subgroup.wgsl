// Weight gradient of conv2d (formula and layouts: conv2d_weight_grad_common.wgsl), for software adapters.
// One workgroup = one subgroup; it computes 4 SUBGROUP output channels x 4 SUBGROUP input channels of one tap. To load dy,
// a lane is 4 output channels; to load x and to sum, it is 4 input channels. A step is 4 pixels, so that an accumulator,
// of which there are more than registers, moves once for 4 products.
#include "conv2d_weight_grad_common.wgsl"

fn outer(a: vec4f, b: vec4f) -> mat4x4f { return mat4x4f(a.x * b, a.y * b, a.z * b, a.w * b); }

@compute @workgroup_size(SUBGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let index = workgroup_index(workgroup, grid);
  if (index >= params.workgroups) { return; }
  let tile = tile_of(index);
  let c4 = tile.channels * SUBGROUP + lane;
  let x_column = min(c4, channels4() - 1u);
  let dy_column = min(tile.out_channels * SUBGROUP + lane, out_channels4() - 1u);
  var sum: array<mat4x4f, SUBGROUP>;  // a column for each output channel
  let last = min((tile.part + 1u) * params.rows_per_part, params.rows);
  for (var row = tile.part * params.rows_per_part; row < last; row++) {
    let x_row = source_row(tile, row);
    if (x_row < 0) { continue; }
    for (var column = tile.left; column < tile.right; column += 4u) {
      var a: array<vec4f, 4>;
      var b: array<vec4f, 4>;
      for (var p = 0u; p < 4u; p++) {
        let at = min(column + p, tile.right - 1u);
        b[p] = vec4f(x[(u32(x_row) * params.width + source_column(tile, at)) * channels4() + x_column]);
        let value = vec4f(dy[(row * params.out_width + at) * out_channels4() + dy_column]);
        a[p] = select(vec4f(), value, column + p < tile.right);
      }
      for (var i = 0u; i < SUBGROUP; i++) {
        sum[i] += outer(subgroupShuffle(a[0], i), b[0]) + outer(subgroupShuffle(a[1], i), b[1])
          + outer(subgroupShuffle(a[2], i), b[2]) + outer(subgroupShuffle(a[3], i), b[3]);
      }
    }
  }
  for (var i = 0u; i < SUBGROUP; i++) {
    for (var j = 0u; j < 4u; j++) { store(tile, (tile.out_channels * SUBGROUP + i) * 4u + j, c4, sum[i][j]); }
  }
}
