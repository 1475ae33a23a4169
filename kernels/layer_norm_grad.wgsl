// The gradient of layer_norm.wgsl to x, with g = dy * weight * (1 + scale):
//   dx = rstd * (g - mean(g) - xhat * mean(g * xhat)), means over the row; RMS norm (not CENTERED) has no mean(g).
// LANES lanes share a row, as in the forward.
// The variant gives: alias V, F, W, M, S, const LANES, WORKGROUP, WIDTH, CENTERED, HAS_WEIGHT, MODULATED, and fold_sum.
#include "lib/index.wgsl"
#include "lib/lane_sum.wgsl"

alias Sum = vec2f;

struct Params {
  rows: u32,
  columns: u32,          // of V
  samples: u32,          // rows of scale and shift: row i of x is of sample i % samples
}

@group(0) @binding(0) var<storage, read> dy: array<V>;
@group(0) @binding(1) var<storage, read> x: array<V>;
@group(0) @binding(2) var<storage, read> weight: array<W>;
@group(0) @binding(3) var<storage, read> scale: array<M>;
@group(0) @binding(4) var<storage, read> statistics: array<vec2f>;
@group(0) @binding(5) var<storage, read_write> dx: array<V>;
@group(0) @binding(6) var<uniform> params: Params;

fn incoming(at: u32, c: u32, sample: u32) -> F {
  var g = F(dy[at]);
  if (HAS_WEIGHT) { g *= F(weight[c]); }
  if (MODULATED) { g *= 1.0 + F(scale[sample + c]); }
  return g;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let slot = workgroup_index(workgroup, grid) * WORKGROUP + lane;
  let part = slot % LANES;
  let row = min(slot / LANES, params.rows - 1u);
  let base = row * params.columns;
  let sample = row % params.samples * params.columns;
  let mean = statistics[row].x;
  let rstd = statistics[row].y;
  var sums = F();
  var products = F();
  for (var c = part; c < params.columns; c += LANES) {
    let g = incoming(base + c, c, sample);
    sums += g;
    products += g * (F(x[base + c]) - mean);
  }
  let means = lane_sum(vec2f(fold_sum(sums), fold_sum(products) * rstd), lane) / f32(params.columns * WIDTH);
  if (slot / LANES >= params.rows) { return; }
  for (var c = part; c < params.columns; c += LANES) {
    let xhat = (F(x[base + c]) - mean) * rstd;
    var g = incoming(base + c, c, sample) - xhat * means.y;
    if (CENTERED) { g -= means.x; }
    dx[base + c] = V(g * rstd);
  }
}
