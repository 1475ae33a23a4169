// The weight [O, C, kh, kw] as a matrix for each tap, y[tap, row, column]: rows are the channels that are summed over,
// columns those of the result, both padded with zeros to a multiple of 4. One lane writes one vec4u of y: 4 columns of
// one row, or of two rows where the weight is f16 (F16).
#include "lib/index.wgsl"

struct Params {
  count: u32,  // of y
  rows: u32, columns: u32,
  row_stride: u32, column_stride: u32,  // in the weight
  taps: u32,
}

@group(0) @binding(0) var<storage, read> weight: array<u32>;  // f32, or pairs of f16
@group(0) @binding(1) var<storage, read_write> y: array<vec4u>;
@group(0) @binding(2) var<uniform> params: Params;

// The bits of one element, 0 in the padding.
fn load(tap: u32, row: u32, column: u32) -> u32 {
  if (row >= params.rows || column >= params.columns) { return 0u; }
  let i = row * params.row_stride + column * params.column_stride + tap;
  if (F16) { return (weight[i / 2u] >> (16u * (i % 2u))) & 0xffffu; }
  return weight[i];
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i >= params.count) { return; }
  let columns4 = (params.columns + 3u) / 4u;
  let column = 4u * (i % columns4);
  let rows = (params.rows + 3u) / 4u * select(4u, 2u, F16);
  let row = (i / columns4) % rows;
  let tap = i / columns4 / rows;
  var value: vec4u;
  for (var j = 0u; j < 4u; j++) {
    if (F16) {
      let half = 2u * (j % 2u) + column;  // word j holds columns half and half + 1 of row 2 row + j / 2
      value[j] = load(tap, 2u * row + j / 2u, half) | (load(tap, 2u * row + j / 2u, half + 1u) << 16u);
    } else {
      value[j] = load(tap, row, column + j);
    }
  }
  y[i] = value;
}
