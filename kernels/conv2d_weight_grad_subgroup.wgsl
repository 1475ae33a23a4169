// Weight gradient of conv2d (formula and layouts: conv2d_weight_grad_common.wgsl), for software adapters.
// One workgroup = one subgroup; it computes 16 output channels x 4 SUBGROUP input channels of one tap. To load dy, a lane
// is 4 output channels of one of 4 pixels; to load x and to sum, it is 4 input channels.
#include "conv2d_weight_grad_common.wgsl"

const_assert 16u % SUBGROUP == 0u;
const LOADS = 16u / SUBGROUP;  // vec4 of dy a lane loads for 4 pixels
const PIXELS = SUBGROUP / 4u;  // pixels that one load covers

@compute @workgroup_size(SUBGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let index = workgroup_index(workgroup, grid);
  let tile = tile_of(index);
  let c4 = tile.channels * SUBGROUP + lane;
  let x_column = min(c4, channels4() - 1u);
  let o4 = min(tile.out_channels * 4u + lane % 4u, out_channels4() - 1u);
  var sum: array<vec4f, 16>;
  let last = min((tile.part + 1u) * params.rows_per_part, params.rows);
  for (var row = tile.part * params.rows_per_part; row < last; row++) {
    let x_row = source_row(tile, row);
    if (x_row < 0) { continue; }
    for (var column = tile.left; column < tile.right; column += 4u) {
      var b: array<vec4f, 4>;
      for (var p = 0u; p < 4u; p++) {
        let at = source_column(tile, min(column + p, tile.right - 1u));
        b[p] = vec4f(x[(u32(x_row) * params.width + at) * channels4() + x_column]);
      }
      for (var l = 0u; l < LOADS; l++) {
        let mine = column + l * PIXELS + lane / 4u;
        let value = vec4f(dy[(row * params.out_width + min(mine, tile.right - 1u)) * out_channels4() + o4]);
        let a = select(vec4f(), value, mine < tile.right);
        for (var i = 0u; i < SUBGROUP; i++) {
          let s = subgroupShuffle(a, i);
          let p = l * PIXELS + i / 4u;
          for (var j = 0u; j < 4u; j++) { sum[i % 4u * 4u + j] += s[j] * b[p]; }
        }
      }
    }
  }
  for (var i = 0u; i < 16u; i++) { store(tile, tile.out_channels * 16u + i, c4, sum[i]); }
}
