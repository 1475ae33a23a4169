// partials[start + chunk] = sum of x^2 over one chunk of 16,384 elements.
// A workgroup sums one chunk: each lane every WORKGROUP-th V, then one tree; the order depends on x's size alone.
// The variant gives: alias V, F (elements as stored, in arithmetic), S = f32, const WIDTH (elements of V), fold_sum.
#include "lib/index.wgsl"
#include "lib/lane_sum.wgsl"

const WORKGROUP = 64u;
const LANES = WORKGROUP;
const CHUNK = 16384u / WIDTH;  // of V
alias Sum = f32;

struct Params {
  count: u32,   // of V
  chunks: u32,
  start: u32,   // this tensor's first partial
}

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let chunk = workgroup_index(workgroup, grid);
  let end = min((chunk + 1u) * CHUNK, params.count);
  var sum = F();
  for (var i = chunk * CHUNK + lane; i < end; i += WORKGROUP) {
    let value = F(x[i]);
    sum += value * value;
  }
  let total = lane_sum(fold_sum(sum), lane);
  if (lane == 0u && chunk < params.chunks) { partials[params.start + chunk] = total; }
}
