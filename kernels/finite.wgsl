// Notes in flags[0] the smallest `index` of the tensors that hold a NaN or an infinity. One lane an element.
#include "lib/index.wgsl"

struct Params {
  count: u32,
  index: u32,
}

@group(0) @binding(0) var<storage, read> x: array<T>;
@group(0) @binding(1) var<storage, read_write> flags: array<atomic<u32>>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i >= params.count) { return; }
  // It looks at the bits, as compilers fold x != x to false.
  if ((bitcast<u32>(f32(x[i])) & 0x7fffffffu) >= 0x7f800000u) { atomicMin(&flags[0], params.index); }
}
