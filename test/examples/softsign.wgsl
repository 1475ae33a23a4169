// y = x / (1 + |x|), element by element; with GRADIENT its gradient to x, y = dy / (1 + |x|)^2, for the dy given.
// One lane computes one element, in f32. The variant gives alias T (elements as stored) and const GRADIENT.
#include "lib/index.wgsl"

struct Params {
  count: u32,  // elements
}

@group(0) @binding(0) var<storage, read> x: array<T>;
@group(0) @binding(1) var<storage, read> dy: array<T>;
@group(0) @binding(2) var<storage, read_write> y: array<T>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 64u + lane;
  if (i >= params.count) { return; }
  let a = f32(x[i]);
  let b = 1.0 + abs(a);
  if (GRADIENT) { y[i] = T(f32(dy[i]) / (b * b)); } else { y[i] = T(a / b); }
}
