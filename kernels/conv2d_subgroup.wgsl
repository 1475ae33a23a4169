// Convolution as an implicit matrix product (formula and layouts: conv2d_common.wgsl), for adapters where a load costs
// as much as tens of multiplications and workgroup memory is no faster: the software ones.
// One workgroup = one subgroup; it computes ROWS pixels x 4 COLUMN_LANES channels. To load the source, a lane is a pixel
// (its channels at the tap); to load the weight and to sum, a lane is 4 channels of the result. Rows pass by shuffles.
// With few channels the subgroup falls into groups of COLUMN_LANES lanes that sum the same channels of other pixels.
#include "conv2d_common.wgsl"

const_assert ROWS % SUBGROUP == 0u && SUBGROUP % COLUMN_LANES == 0u;
const LOADS = ROWS / SUBGROUP;  // pixels a lane loads
const SUMS = LOADS * COLUMN_LANES;  // pixels a lane sums

// Rows row to row + 3 of the weight (row a multiple of 4), 4 columns of each.
fn load_weight(row: u32, column4: u32) -> mat4x4f {
  if (WEIGHT_F16) {
    let low = weight[row / 2u * columns4() + column4];
    let high = weight[(row / 2u + 1u) * columns4() + column4];
    return mat4x4f(
      vec4f(unpack2x16float(low.x), unpack2x16float(low.y)), vec4f(unpack2x16float(low.z), unpack2x16float(low.w)),
      vec4f(unpack2x16float(high.x), unpack2x16float(high.y)), vec4f(unpack2x16float(high.z), unpack2x16float(high.w)));
  }
  let at = row * columns4() + column4;
  return mat4x4f(
    bitcast<vec4f>(weight[at]), bitcast<vec4f>(weight[at + columns4()]),
    bitcast<vec4f>(weight[at + 2u * columns4()]), bitcast<vec4f>(weight[at + 3u * columns4()]));
}

@compute @workgroup_size(SUBGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let index = workgroup_index(workgroup, grid);
  if (index >= params.workgroups) { return; }
  let tile = tile_of(index);
  let column4 = tile.columns * COLUMN_LANES + lane % COLUMN_LANES;
  let first = select(lane - lane % COLUMN_LANES, 0u, COLUMN_LANES == SUBGROUP);  // lane of the group
  let weight_column4 = min(column4, columns4() - 1u);
  var start: array<vec2i, LOADS>;
  var real: array<bool, LOADS>;
  for (var r = 0u; r < LOADS; r++) {
    let q = tile.pixels * ROWS + r * SUBGROUP + lane;
    start[r] = source_start(tile, q);
    real[r] = q < pixel_count(tile);
  }

  var sum: array<vec4f, SUMS>;
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
      for (var k = 0u; k < params.depth4; k++) {
        let w = load_weight(row + 4u * k, weight_column4);
        for (var r = 0u; r < LOADS; r++) {
          let mine = select(vec4f(), vec4f(source[base[r] + k]), inside[r]);
          for (var i = 0u; i < COLUMN_LANES; i++) {
            sum[r * COLUMN_LANES + i] += w * subgroupShuffle(mine, first + i);
          }
        }
      }
    }
  }

  let bias4 = load_bias(column4);
  for (var r = 0u; r < LOADS; r++) {
    for (var i = 0u; i < COLUMN_LANES; i++) {
      let pixel = tile.pixels * ROWS + r * SUBGROUP + first + i;
      store(tile, pixel, column4, sum[r * COLUMN_LANES + i] + bias4);
    }
  }
}
