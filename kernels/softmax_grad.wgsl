// dx = y (dy - sum(y dy)) for y = softmax(x), or dx = dy - exp(y) sum(dy) for y = logSoftmax(x) (LOG), along the middle
// axis of [outer, length, inner]. Layout, lanes and variant as in softmax.wgsl.
#include "lib/index.wgsl"
#include "lib/lane_sum.wgsl"

const WORKGROUP = 64u;
alias Sum = F;

struct Params {
  count: u32,   // rows or units of columns: outer * inner
  length: u32,  // units along the axis
  inner: u32,   // units along the inner axes
}

@group(0) @binding(0) var<storage, read> y: array<V>;
@group(0) @binding(1) var<storage, read> dy: array<V>;
@group(0) @binding(2) var<storage, read_write> dx: array<V>;
@group(0) @binding(3) var<uniform> params: Params;

fn term(at: u32) -> F {
  if (LOG) { return F(dy[at]); }
  return F(y[at]) * F(dy[at]);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let slot = workgroup_index(workgroup, grid) * WORKGROUP + lane;
  let item = slot / LANES;
  let row = min(item, params.count - 1u);
  let inner = params.inner;
  let base = row / inner * params.length * inner + row % inner;
  let step = LANES * inner;
  let first = base + slot % LANES * inner;
  let end = base + params.length * inner;

  var a = F(0.0);
  var b = a;
  var c = a;
  var d = a;
  var at = first;
  for (; at + 3u * step < end; at += 4u * step) {
    a += term(at);
    b += term(at + step);
    c += term(at + 2u * step);
    d += term(at + 3u * step);
  }
  for (; at < end; at += step) { a += term(at); }
  let total = F(fold_sum(lane_sum((a + b) + (c + d), lane)));

  if (item >= params.count) { return; }
  for (at = first; at < end; at += step) {
    if (LOG) { dx[at] = V(F(dy[at]) - exp(F(y[at])) * total); } else { dx[at] = V(F(y[at]) * (F(dy[at]) - total)); }
  }
}
