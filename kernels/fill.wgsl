// y[i] = start + step i. start and step come as bits, so that integers keep all 32 of them. S is the arithmetic type of T.
#include "lib/index.wgsl"

struct Params {
  count: u32,
  start: u32,  // bits of an S
  step: u32,   // bits of an S
}

@group(0) @binding(0) var<storage, read_write> y: array<T>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i < params.count) { y[i] = T(bitcast<S>(params.start) + bitcast<S>(params.step) * S(i)); }
}
