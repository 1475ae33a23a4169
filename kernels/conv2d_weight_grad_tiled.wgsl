// Weight gradient of conv2d (formula and layouts: conv2d_weight_grad_common.wgsl), for GPUs.
// A workgroup of 16 x 16 lanes computes 64 output channels x 64 input channels of one tap, a lane 4 x 4 of them. Each
// step stages 16 pixels of dy and the source pixels they meet in workgroup memory.
#include "conv2d_weight_grad_common.wgsl"

var<workgroup> staged_x: array<vec4f, 16u * 16u>;  // [pixel][4 channels of 64]
var<workgroup> staged_dy: array<vec4f, 16u * 16u>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = workgroup_index(workgroup, grid);
  if (index >= params.workgroups) { return; }
  let tile = tile_of(index);
  let c4 = tile.channels * 16u + lane % 16u;
  let o4 = tile.out_channels * 16u + lane / 16u;
  let staged_o4 = tile.out_channels * 16u + lane % 16u;
  var sum: mat4x4f;  // a column for each output channel
  let last = min((tile.part + 1u) * params.rows_per_part, params.rows);
  for (var row = tile.part * params.rows_per_part; row < last; row++) {
    let x_row = source_row(tile, row);
    if (x_row < 0) { continue; }
    for (var column = tile.left; column < tile.right; column += 16u) {
      let pixels = min(16u, tile.right - column);
      let mine = column + lane / 16u;
      var a = vec4f();
      var b = vec4f();
      if (mine < tile.right && staged_o4 < out_channels4()) {
        a = vec4f(dy[(row * params.out_width + mine) * out_channels4() + staged_o4]);
      }
      if (mine < tile.right && c4 < channels4()) {
        b = vec4f(x[(u32(x_row) * params.width + source_column(tile, mine)) * channels4() + c4]);
      }
      staged_dy[lane] = a;
      staged_x[lane] = b;
      workgroupBarrier();
      for (var p = 0u; p < pixels; p++) {
        let s = staged_dy[p * 16u + lane / 16u];
        let t = staged_x[p * 16u + lane % 16u];
        sum += mat4x4f(s.x * t, s.y * t, s.z * t, s.w * t);
      }
      workgroupBarrier();
    }
  }
  for (var i = 0u; i < 4u; i++) { store(tile, 4u * o4 + i, c4, sum[i]); }
}
