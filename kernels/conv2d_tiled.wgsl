// Convolution as an implicit matrix product (formula and layouts: conv2d_common.wgsl), for GPUs.
// A workgroup of 16 x 16 lanes computes 16 ROWS pixels x 64 channels, a lane ROWS x 4 of them. Each step stages 16
// channels of the tile's pixels at one tap, and the 16 rows of the weight that meet them, in workgroup memory.
#include "conv2d_common.wgsl"

const PIXELS = 16u * ROWS;
const_assert ROWS % 4u == 0u;
const LOADS = PIXELS / 64u;  // pixels a lane stages

var<workgroup> staged_source: array<vec4f, 4u * PIXELS>;  // [4 channels of 16][pixel]
var<workgroup> staged_weight: array<vec4f, 16u * 16u>;  // [row][4 columns of 64]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = workgroup_index(workgroup, grid);
  if (index >= params.workgroups) { return; }
  let tile = tile_of(index);
  let column4 = tile.columns * 16u + lane % 16u;
  let first = lane / 16u * ROWS;  // the lane's first pixel in the tile
  var start: array<vec2i, LOADS>;
  var real: array<bool, LOADS>;
  for (var r = 0u; r < LOADS; r++) {
    let q = tile.pixels * PIXELS + r * 64u + lane / 4u;
    start[r] = source_start(tile, q);
    real[r] = q < pixel_count(tile);
  }

  var sum: array<vec4f, ROWS>;
  for (var tap_y = 0u; tap_y < tile.taps.y; tap_y++) {
    for (var tap_x = 0u; tap_x < tile.taps.x; tap_x++) {
      let tap = vec2u(tap_x, tap_y);
      var base: array<u32, LOADS>;
      var inside: array<bool, LOADS>;
      for (var r = 0u; r < LOADS; r++) {
        let at = start[r] + tap_offset(tap);
        inside[r] = real[r] && inside_source(at);
        base[r] = source_index(tile, at);
      }
      let row = weight_row(tile, tap);
      for (var k = 0u; k < params.depth4; k += 4u) {
        let mine = k + lane % 4u;
        for (var r = 0u; r < LOADS; r++) {
          var value = vec4f();
          if (inside[r] && mine < params.depth4) { value = vec4f(source[base[r] + mine]); }
          staged_source[lane % 4u * PIXELS + r * 64u + lane / 4u] = value;
        }
        let k_row = 4u * k + lane / 16u;
        var weights = vec4f();
        if (k_row < 4u * params.depth4 && column4 < columns4()) { weights = weight_at(row + k_row, column4); }
        staged_weight[lane] = weights;
        workgroupBarrier();
        for (var d = 0u; d < 4u; d++) {
          let w = mat4x4f(
            staged_weight[(4u * d) * 16u + lane % 16u], staged_weight[(4u * d + 1u) * 16u + lane % 16u],
            staged_weight[(4u * d + 2u) * 16u + lane % 16u], staged_weight[(4u * d + 3u) * 16u + lane % 16u]);
          for (var i = 0u; i < ROWS; i++) { sum[i] += w * staged_source[d * PIXELS + first + i]; }
        }
        workgroupBarrier();
      }
    }
  }

  if (column4 >= columns4()) { return; }
  let bias4 = load_bias(column4);
  for (var i = 0u; i < ROWS; i++) { store(tile, tile.pixels * PIXELS + first + i, column4, sum[i] + bias4); }
}
