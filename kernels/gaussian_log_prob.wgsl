// mean = a x + b v, and partials[sample, chunk] = the chunk's sum of (next - mean)^2, by one tree over the lanes.
// Sampling and training both take the log probability of the stored `next` by this kernel.
// The variant gives: alias V, F, S, const WIDTH, and fold_sum.
#include "lib/index.wgsl"
#include "lib/lane_sum.wgsl"
#include "lib/gaussian.wgsl"

const LANES = WORKGROUP;
alias Sum = f32;

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> v: array<V>;
@group(0) @binding(2) var<storage, read> next: array<V>;
@group(0) @binding(3) var<storage, read> coefficients: array<Coefficients>;
@group(0) @binding(4) var<storage, read_write> mean: array<V>;
@group(0) @binding(5) var<storage, read_write> partials: array<f32>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let slot = min(workgroup_index(workgroup, grid), params.samples * params.chunks - 1u);
  let sample = slot / params.chunks;
  let first = slot % params.chunks * CHUNK;
  let row = coefficients[sample];
  var sum = F();
  for (var i = first + lane; i < min(first + CHUNK, params.size); i += WORKGROUP) {
    let at = sample * params.size + i;
    let value = row.a * x[at] + row.b * v[at];
    let difference = next[at] - value;
    mean[at] = value;
    sum += difference * difference;
  }
  let total = lane_sum(fold_sum(sum), lane);
  if (lane == 0u) { partials[slot] = total; }
}
