// y = exp(x - max) / sum(exp(x - max)) along the middle axis of x [outer, length, inner], or its logarithm (LOG).
// A unit is one V: with inner = 1 four neighbours of a row, joined at the end; otherwise four columns, which stay
// apart. LANES lanes share a row, each with four accumulators; the order depends on the length only.
// A row that holds NaN or +infinity, or -infinity alone, is NaN; max and exp would lose it, so the bits decide.
// The variant gives V (a unit stored), F (in arithmetic), U (its bits), S (its scalar), and lib/fold4.wgsl and join4.wgsl or their
// twins.
#include "lib/index.wgsl"
#include "lib/lane_combine.wgsl"
#include "lib/lane_sum.wgsl"
#include "lib/special.wgsl"

const WORKGROUP = 64u;
alias Sum = F;

struct Params {
  count: u32,   // rows or units of columns: outer * inner
  length: u32,  // units along the axis
  inner: u32,   // units along the inner axes
}

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read_write> y: array<V>;
@group(0) @binding(2) var<uniform> params: Params;

fn combine(a: F, b: F) -> F { return max(a, b); }

// exp for arguments <= 0. Below -104 it is 0 in f32; the bound keeps large negative masks away from infinity.
fn decay(a: F) -> F { return exp(max(a, F(-104.0))); }

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

  var a = F(x[base]);
  var b = a;
  var c = a;
  var d = a;
  var at = first;
  for (; at + 3u * step < end; at += 4u * step) {
    a = max(a, F(x[at]));
    b = max(b, F(x[at + step]));
    c = max(c, F(x[at + 2u * step]));
    d = max(d, F(x[at + 3u * step]));
  }
  for (; at < end; at += step) { a = max(a, F(x[at])); }
  let top = F(join(lane_combine(max(max(a, b), max(c, d)), lane)));

  a = F(0.0);
  b = a;
  c = a;
  d = a;
  var largest = magnitude_bits(top);
  at = first;
  for (; at + 3u * step < end; at += 4u * step) {
    let p = F(x[at]);
    let q = F(x[at + step]);
    let r = F(x[at + 2u * step]);
    let s = F(x[at + 3u * step]);
    largest = max(largest, max(max(magnitude_bits(p), magnitude_bits(q)), max(magnitude_bits(r), magnitude_bits(s))));
    a += decay(p - top);
    b += decay(q - top);
    c += decay(r - top);
    d += decay(s - top);
  }
  for (; at < end; at += step) {
    let p = F(x[at]);
    largest = max(largest, magnitude_bits(p));
    a += decay(p - top);
  }
  let lost = (largest > U(0x7f800000u)) | (magnitude_bits(top) == U(0x7f800000u));
  let total = F(fold_sum(lane_sum(select((a + b) + (c + d), nan(), lost), lane)));

  if (item >= params.count) { return; }
  let scale = F(1.0) / total;
  let shift = nan_else(total, log(total));
  for (at = first; at < end; at += step) {
    let centred = F(x[at]) - top;
    if (LOG) { y[at] = V(centred - shift); } else { y[at] = V(decay(centred) * scale); }
  }
}
