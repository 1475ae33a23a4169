// The ids of one row as a chain, in order: links[i] is the next j with ids[j] = ids[i], or n at the end of the chain. The
// highest bit marks an i that is not the first of its chain. Each lane compares one id with up to n others.
#include "lib/index.wgsl"

struct Params {
  n: u32,
  lastRow: u32,  // ids beyond the table count as its last row
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read_write> links: array<u32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 64u + lane;
  if (i >= params.n) { return; }
  let row = min(ids[i], params.lastRow);
  var before = 0u;
  while (before < i && min(ids[before], params.lastRow) != row) { before++; }
  var next = i + 1u;
  while (next < params.n && min(ids[next], params.lastRow) != row) { next++; }
  links[i] = next | select(0u, 0x80000000u, before < i);
}
