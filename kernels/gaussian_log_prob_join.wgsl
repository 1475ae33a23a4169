// log_prob[sample] = offset - scale * (sum of the sample's partials) / elements. One lane joins one sample.
// The variant gives: const WIDTH.
#include "lib/index.wgsl"
#include "lib/gaussian.wgsl"

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read> coefficients: array<Coefficients>;
@group(0) @binding(2) var<storage, read_write> log_prob: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let sample = workgroup_index(workgroup, grid) * WORKGROUP + lane;
  if (sample >= params.samples) { return; }
  var sum = 0.0;
  for (var i = 0u; i < params.chunks; i++) { sum += partials[sample * params.chunks + i]; }
  let row = coefficients[sample];
  log_prob[sample] = row.offset - row.scale * (sum / f32(params.size * WIDTH));
}
