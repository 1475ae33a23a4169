// target[ids[i], :] = source[i, :] for the ids in the bound part of the target, rows firstRow to firstRow + rows; other rows
// stay as they are. Ids must differ: rows of one call are written in no order. One lane writes one V, 4-byte words.
#include "lib/index.wgsl"

struct Params {
  count: u32,     // units of source
  width: u32,     // units of a row
  firstRow: u32,
  rows: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> source: array<V>;
@group(0) @binding(2) var<storage, read_write> target_rows: array<V>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i >= params.count) { return; }
  let row = ids[i / params.width];
  if (row < params.firstRow || row >= params.firstRow + params.rows) { return; }
  target_rows[(row - params.firstRow) * params.width + i % params.width] = source[i];
}
