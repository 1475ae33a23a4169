// next = a x + b v + deviation noise, or without noise (not HAS_NOISE) the mean a x + b v.
// The variant gives: alias V, const WIDTH, HAS_NOISE.
#include "lib/index.wgsl"
#include "lib/gaussian.wgsl"

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> v: array<V>;
@group(0) @binding(2) var<storage, read> noise: array<V>;
@group(0) @binding(3) var<storage, read> coefficients: array<Coefficients>;
@group(0) @binding(4) var<storage, read_write> next: array<V>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let slot = workgroup_index(workgroup, grid);
  let sample = slot / params.chunks;
  if (sample >= params.samples) { return; }
  let first = slot % params.chunks * CHUNK;
  let row = coefficients[sample];
  for (var i = first + lane; i < min(first + CHUNK, params.size); i += WORKGROUP) {
    let at = sample * params.size + i;
    var value = row.a * x[at] + row.b * v[at];
    if (HAS_NOISE) { value += row.deviation * noise[at]; }
    next[at] = value;
  }
}
