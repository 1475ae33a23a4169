// total += part, in place. One lane handles one V. The variant gives: alias V (as stored).
#include "lib/index.wgsl"

struct Params {
  count: u32,  // of V
}

@group(0) @binding(0) var<storage, read_write> total: array<V>;
@group(0) @binding(1) var<storage, read> part: array<V>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i < params.count) { total[i] += part[i]; }
}
