// Sums over the pixels of each row for the gradients of group norm, with g = dy, or dy * silu'(xhat * weight + bias):
//   sums[row] = sum of g, products[row] = sum of g * xhat.
// dBias and dWeight are their sums over the samples; dx needs their sums over the group. LANES lanes share a row.
// The variant gives: alias V, F, W, S, const LANES, WORKGROUP, WIDTH, SILU, and fold_sum.
#include "lib/index.wgsl"
#include "lib/elementwise.wgsl"
#include "lib/lane_sum.wgsl"
#include "lib/group_norm.wgsl"

alias Sum = vec2f;

@group(0) @binding(0) var<storage, read> dy: array<V>;
@group(0) @binding(1) var<storage, read> x: array<V>;
@group(0) @binding(2) var<storage, read> statistics: array<Statistics>;
@group(0) @binding(3) var<storage, read> weight: array<W>;
@group(0) @binding(4) var<storage, read> bias: array<W>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;
@group(0) @binding(6) var<storage, read_write> products: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let slot = workgroup_index(workgroup, grid) * WORKGROUP + lane;
  let row = min(slot / LANES, params.rows - 1u);
  let group = normal_of(row);
  let channel = row % params.channels;
  let base = row * params.pixels;
  var sum = F();
  var product = F();
  for (var i = slot % LANES; i < params.pixels; i += LANES) {
    let xhat = (F(x[base + i]) - group.mean) * group.rstd;
    var g = F(dy[base + i]);
    if (SILU) { g = silu_grad(xhat * f32(weight[channel]) + f32(bias[channel]), g); }
    sum += g;
    product += g * xhat;
  }
  let total = lane_sum(vec2f(fold_sum(sum), fold_sum(product)), lane);
  if (slot % LANES == 0u && slot / LANES < params.rows) {
    sums[row] = total.x;
    products[row] = total.y;
  }
}
