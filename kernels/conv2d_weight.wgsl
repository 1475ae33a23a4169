// The weight [O, C, kh, kw] as a matrix for each tap, y[tap, row, column]: rows are the channels that are summed over,
// columns those of the result, both padded with zeros to a multiple of 4. A vec4u of y is 4 columns of one row, or of two
// rows where the weight is f16 (F16). One lane writes 16 columns for all taps: a cache line each, read from neighbours.
#include "lib/index.wgsl"

struct Params {
  count: u32,  // lanes: rows of vec4u * ceil(columns / 16)
  rows: u32, columns: u32,
  row_stride: u32, column_stride: u32,  // in the weight
  taps: u32,
}

@group(0) @binding(0) var<storage, read> weight: array<u32>;  // f32, or pairs of f16
@group(0) @binding(1) var<storage, read_write> y: array<vec4u>;
@group(0) @binding(2) var<uniform> params: Params;

// The bits of one element, 0 in the padding.
fn load(tap: u32, row: u32, column: u32) -> u32 {
  let inside = row < params.rows && column < params.columns;
  let i = select(0u, row * params.row_stride + column * params.column_stride + tap, inside);
  if (F16) { return select(0u, extractBits(weight[i / 2u], 16u * (i % 2u), 16u), inside); }
  return select(0u, weight[i], inside);
}
fn load_vec4(tap: u32, row: u32, column: u32) -> vec4u {
  var value = vec4u();
  for (var j = 0u; j < 4u; j++) {
    if (F16) {
      let pair = column + 2u * (j % 2u);  // word j holds columns pair and pair + 1 of row 2 row + j / 2
      value[j] = load(tap, 2u * row + j / 2u, pair) | (load(tap, 2u * row + j / 2u, pair + 1u) << 16u);
    } else {
      value[j] = load(tap, row, column + j);
    }
  }
  return value;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i >= params.count) { return; }
  let columns4 = (params.columns + 3u) / 4u;
  let rows = (params.rows + 3u) / 4u * select(4u, 2u, F16);
  let row = i % rows;
  let first = i / rows * 4u;
  for (var tap = 0u; tap < params.taps; tap++) {
    for (var c4 = first; c4 < min(first + 4u, columns4); c4++) {
      y[(tap * rows + row) * columns4 + c4] = load_vec4(tap, row, 4u * c4);
    }
  }
}
