// Convolution as an implicit matrix product (formula and layouts: conv2d_common.wgsl) by subgroup matrices
// (lib/tile_product.wgsl): TILE_M pixels x TILE_N channels of the result, a step is TILE_K channels of the source at one tap.
#include "conv2d_common.wgsl"

const LEFT_TRANSPOSED = false;
const RIGHT_TRANSPOSED = false;
#include "lib/tile_product.wgsl"

const DEPTH4 = TILE_K / 4u;
const PIXELS_AT_ONCE = LANES / DEPTH4;
const LOADS = TILE_M / PIXELS_AT_ONCE;  // pixels a lane stages
const_assert LANES % DEPTH4 == 0u && TILE_M % PIXELS_AT_ONCE == 0u;

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
  let first4 = tile.columns * (TILE_N / 4u);
  var start: array<vec2i, LOADS>;
  var real: array<bool, LOADS>;
  for (var r = 0u; r < LOADS; r++) {
    let q = tile.pixels * TILE_M + r * PIXELS_AT_ONCE + lane / DEPTH4;
    start[r] = source_start(tile, q);
    real[r] = q < pixel_count(tile);
  }

  var sums = Sums();
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
      for (var k = 0u; k < params.depth4; k += DEPTH4) {
        let mine = k + lane % DEPTH4;
        for (var r = 0u; r < LOADS; r++) {
          var value = vec4f();
          if (inside[r] && mine < params.depth4) { value = vec4f(source[base[r] + mine]); }
          put_left((r * PIXELS_AT_ONCE + lane / DEPTH4) * LEFT_STRIDE + 4u * (lane % DEPTH4), value);
        }
        for (var block = lane; block < TILE_K * TILE_N / 4u; block += LANES) {
          let step = block / (TILE_N / 4u);
          let column4 = first4 + block % (TILE_N / 4u);
          var value = vec4f();
          if (4u * k + step < 4u * params.depth4 && column4 < columns4()) {
            value = weight_at(row + 4u * k + step, column4);
          }
          put_right(step * RIGHT_STRIDE + 4u * (block % (TILE_N / 4u)), value);
        }
        workgroupBarrier();
        add_product(&sums);
        workgroupBarrier();
      }
    }
  }

  for (var i = 0u; i < BLOCKS; i++) {
    spill(sums[i]);
    workgroupBarrier();
    for (var block = subgroup_lane; block < 64u; block += SUBGROUP) {  // neighbours write neighbouring pixels
      let pixel = tile.pixels * TILE_M + row_of(i) + block % 16u;
      let column4 = first4 + column_of(i) / 4u + block / 16u;
      store(tile, pixel, column4, sums_at(block % 16u, block / 16u * 4u) + load_bias(min(column4, columns4() - 1u)));
    }
    workgroupBarrier();
  }
}
