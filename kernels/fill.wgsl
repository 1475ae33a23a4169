// y[i] = start + step i. start and step come as bits, so that integers keep all 32 of them. One lane writes one V.
// The variant gives V (stored), F (arithmetic), S (the scalar of F). With a step, V is one element.
#include "lib/index.wgsl"

struct Params {
  count: u32,  // units of y
  start: u32,  // bits of an S
  step: u32,   // bits of an S
}

@group(0) @binding(0) var<storage, read_write> y: array<V>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i < params.count) { y[i] = V(F(bitcast<S>(params.start) + bitcast<S>(params.step) * S(i))); }
}
