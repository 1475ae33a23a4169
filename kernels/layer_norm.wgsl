// y = xhat * weight + bias, xhat = (x - mean) * rstd over each row of x [rows, columns]; then, modulated by the sample
// the row belongs to, y * (1 + scale) + shift. Not CENTERED is RMS norm: xhat = x / sqrt(mean(x^2) + eps).
// LANES lanes share a row: 1 on a CPU, 64 on a GPU, for coalescing. statistics[row] = (mean, rstd), for the gradient.
// The variant gives: alias V, F, W (of weight and bias), M (of scale and shift), S, const LANES, WORKGROUP, WIDTH,
// CENTERED, HAS_WEIGHT, HAS_BIAS, MODULATED, and fold_sum.
#include "lib/index.wgsl"
#include "lib/lane_sum.wgsl"
#include "lib/moments.wgsl"

alias Sum = f32;

struct Params {
  rows: u32,
  columns: u32,          // of V
  samples: u32,          // rows of scale and shift: row i of x is of sample i % samples
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> weight: array<W>;  // [columns]
@group(0) @binding(2) var<storage, read> bias: array<W>;
@group(0) @binding(3) var<storage, read> scale: array<M>;   // [samples, columns]
@group(0) @binding(4) var<storage, read> shift: array<M>;
@group(0) @binding(5) var<storage, read_write> y: array<V>;
@group(0) @binding(6) var<storage, read_write> statistics: array<vec2f>;
@group(0) @binding(7) var<uniform> params: Params;

// The mean of the row that starts at `base` and the sum of squared deviations from it.
fn row_moments(base: u32, part: u32, lane: u32) -> vec2f {
  if (CENTERED) {
    var moments = Moments();
    for (var c = part; c < params.columns; c += LANES) { moments_add(&moments, F(x[base + c])); }
    return moments_join(moments, params.columns, lane);
  }
  var squares = F();
  for (var c = part; c < params.columns; c += LANES) {
    let value = F(x[base + c]);
    squares += value * value;
  }
  return vec2f(0.0, lane_sum(fold_sum(squares), lane));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let slot = workgroup_index(workgroup, grid) * WORKGROUP + lane;
  let part = slot % LANES;
  let row = slot / LANES;
  let base = min(row, params.rows - 1u) * params.columns;
  let moments = row_moments(base, part, lane);
  let mean = moments.x;
  let rstd = 1.0 / sqrt(moments.y / f32(params.columns * WIDTH) + params.eps);
  if (row >= params.rows) { return; }
  if (part == 0u) { statistics[row] = vec2f(mean, rstd); }
  let sample = row % params.samples * params.columns;
  for (var c = part; c < params.columns; c += LANES) {
    var value = (F(x[base + c]) - mean) * rstd;
    if (HAS_WEIGHT) { value *= F(weight[c]); }
    if (HAS_BIAS) { value += F(bias[c]); }
    if (MODULATED) { value = value * (1.0 + F(scale[sample + c])) + F(shift[sample + c]); }
    y[base + c] = V(value);
  }
}
