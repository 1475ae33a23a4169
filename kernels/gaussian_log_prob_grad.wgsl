// The gradient to v of log_prob and mean: dv = b (d_mean + 2 scale (next - mean) / elements * d_log_prob).
// The variant gives: alias V, const WIDTH, HAS_LOG_PROB, HAS_MEAN (which of the two gradients arrived).
#include "lib/index.wgsl"
#include "lib/gaussian.wgsl"

@group(0) @binding(0) var<storage, read> next: array<V>;
@group(0) @binding(1) var<storage, read> mean: array<V>;
@group(0) @binding(2) var<storage, read> coefficients: array<Coefficients>;
@group(0) @binding(3) var<storage, read> d_log_prob: array<f32>;
@group(0) @binding(4) var<storage, read> d_mean: array<V>;
@group(0) @binding(5) var<storage, read_write> dv: array<V>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let slot = workgroup_index(workgroup, grid);
  let sample = slot / params.chunks;
  if (sample >= params.samples) { return; }
  let first = slot % params.chunks * CHUNK;
  let row = coefficients[sample];
  var factor = 0.0;
  if (HAS_LOG_PROB) { factor = 2.0 * row.scale / f32(params.size * WIDTH) * d_log_prob[sample]; }
  for (var i = first + lane; i < min(first + CHUNK, params.size); i += WORKGROUP) {
    let at = sample * params.size + i;
    var gradient = V();
    if (HAS_LOG_PROB) { gradient = factor * (next[at] - mean[at]); }
    if (HAS_MEAN) { gradient += d_mean[at]; }
    dv[at] = row.b * gradient;
  }
}
