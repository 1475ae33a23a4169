// y = (x - mean) * rstd * weight + bias, mean and rstd over a sample's group of channels; with SILU, silu of that.
// LANES lanes share a row (one channel of one sample).
// The variant gives: alias V, F, W (of weight and bias), const LANES, WORKGROUP, WIDTH, SILU.
#include "lib/index.wgsl"
#include "lib/elementwise.wgsl"
#include "lib/group_norm.wgsl"

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> statistics: array<Statistics>;
@group(0) @binding(2) var<storage, read> weight: array<W>;
@group(0) @binding(3) var<storage, read> bias: array<W>;
@group(0) @binding(4) var<storage, read_write> y: array<V>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let slot = workgroup_index(workgroup, grid) * WORKGROUP + lane;
  let row = slot / LANES;
  if (row >= params.rows) { return; }
  let group = normal_of(row);
  let channel = row % params.channels;
  let factor = group.rstd * f32(weight[channel]);
  let offset = f32(bias[channel]);
  let base = row * params.pixels;
  for (var i = slot % LANES; i < params.pixels; i += LANES) {
    var value = (F(x[base + i]) - group.mean) * factor + offset;
    if (SILU) { value = silu(value); }
    y[base + i] = V(value);
  }
}
