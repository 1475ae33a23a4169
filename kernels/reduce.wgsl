// y[o, c, i] = scale * (x[o, r, i] combined over the r of chunk c): one pass over the middle axis of x [outer, length, inner].
// A unit is one V. With inner = 1 a unit is four neighbours along the reduced axis, and `fold` joins them at the end;
// otherwise it is four columns, which stay apart. LANES lanes share one result; four accumulators each, and a tree over
// the lanes. The order depends on length, chunk and LANES only, never on how many rows or columns there are.
// The variant gives V, F (a unit loaded, in arithmetic), U (its bits), G, Y (a result in arithmetic, stored), S (the scalar of F),
// lib/reduce_sum.wgsl or its like, and lib/fold4.wgsl or fold1.wgsl for sums, lib/join4.wgsl or join1.wgsl for others.
#include "lib/index.wgsl"
#include "lib/lane_combine.wgsl"

const WORKGROUP = 64u;

struct Params {
  count: u32,   // results: outer * chunks * inner
  length: u32,  // units along the reduced axis
  inner: u32,   // units along the kept inner axis
  chunk: u32,   // units that one result combines
  chunks: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read_write> y: array<Y>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let slot = workgroup_index(workgroup, grid) * WORKGROUP + lane;
  let result = slot / LANES;
  let item = min(result, params.count - 1u);
  let inner = params.inner;
  let chunk = item / inner % params.chunks;
  let base = item / inner / params.chunks * params.length * inner + item % inner;
  let first = chunk * params.chunk;
  let end = min(first + params.chunk, params.length);

  let a = initial(F(x[base + first * inner]));
  var sums = array<F, 4>(a, a, a, a);
  var r = first + slot % LANES;
  for (; r + 3u * LANES < end; r += 4u * LANES) {
    let at = base + r * inner;
    let step = LANES * inner;
    sums[0] = combine(sums[0], F(x[at]));
    sums[1] = combine(sums[1], F(x[at + step]));
    sums[2] = combine(sums[2], F(x[at + 2u * step]));
    sums[3] = combine(sums[3], F(x[at + 3u * step]));
  }
  for (; r < end; r += LANES) { sums[0] = combine(sums[0], F(x[base + r * inner])); }
  let total = lane_combine(combine(combine(sums[0], sums[1]), combine(sums[2], sums[3])), lane);
  if (slot % LANES == 0u && result < params.count) { y[result] = Y(fold(total) * G(S(params.scale))); }
}
