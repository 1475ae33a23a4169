// The gradient of group_norm.wgsl to x, with g = dy, or dy * silu'(xhat * weight + bias):
//   dx = rstd * (g * weight - mean(g * weight) - xhat * mean(g * weight * xhat)), means over the group.
// `sums` and `products` come from group_norm_channel_sums.wgsl. LANES lanes share a row.
// The variant gives: alias V, F, W, const LANES, WORKGROUP, WIDTH, SILU.
#include "lib/index.wgsl"
#include "lib/elementwise.wgsl"
#include "lib/group_norm.wgsl"

@group(0) @binding(0) var<storage, read> dy: array<V>;
@group(0) @binding(1) var<storage, read> x: array<V>;
@group(0) @binding(2) var<storage, read> statistics: array<Statistics>;
@group(0) @binding(3) var<storage, read> weight: array<W>;
@group(0) @binding(4) var<storage, read> bias: array<W>;
@group(0) @binding(5) var<storage, read> sums: array<f32>;
@group(0) @binding(6) var<storage, read> products: array<f32>;
@group(0) @binding(7) var<storage, read_write> dx: array<V>;
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let slot = workgroup_index(workgroup, grid) * WORKGROUP + lane;
  let row = slot / LANES;
  if (row >= params.rows) { return; }
  let group = normal_of(row);
  let channel = row % params.channels;
  let inside = row % params.group_channels;
  var means = vec2f();
  for (var i = 0u; i < params.group_channels; i++) {
    let other = row - inside + i;
    means += f32(weight[channel - inside + i]) * vec2f(sums[other], products[other]);
  }
  means /= f32(params.pixels * WIDTH) * f32(params.group_channels);
  let base = row * params.pixels;
  for (var i = slot % LANES; i < params.pixels; i += LANES) {
    let xhat = (F(x[base + i]) - group.mean) * group.rstd;
    var g = F(dy[base + i]);
    if (SILU) { g = silu_grad(xhat * f32(weight[channel]) + f32(bias[channel]), g); }
    dx[base + i] = V((g * f32(weight[channel]) - means.x - xhat * means.y) * group.rstd);
  }
}
