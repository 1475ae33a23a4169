// The rate of a copy by a shader: a lane moves eight vec4, neighbours together. size counts vec4s.
#include "lib/index.wgsl"
struct Params { size: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = workgroup_index(workgroup, grid) * 2048u + lane;
  for (var i = first; i < min(first + 2048u, params.size); i += 256u) { y[i] = x[i]; }
}
