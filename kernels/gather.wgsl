// y[i, :] = table[ids[i], :] for the ids in the bound part of the table, rows firstRow to firstRow + rows; ids beyond the
// table count as its last row. The parts of one call cover the table, so each row of y is written once, by one of them.
// One lane writes one V. The variant gives V (written), X (the table as bound) and lib/gather_stored.wgsl or _half.wgsl.
#include "lib/index.wgsl"

struct Params {
  count: u32,     // units of y
  width: u32,     // units of a row
  firstRow: u32,
  rows: u32,
  lastRow: u32,   // of the whole table
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> table: array<X>;
@group(0) @binding(2) var<storage, read_write> y: array<V>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i >= params.count) { return; }
  let row = min(ids[i / params.width], params.lastRow);
  if (row < params.firstRow || row >= params.firstRow + params.rows) { return; }
  y[i] = load((row - params.firstRow) * params.width + i % params.width);
}
