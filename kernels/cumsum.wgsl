// y[o, r, i] = sum of x[o, s, i] over s <= r, or s >= r (REVERSED). A lane walks one chunk of one line; the sum of the
// chunks before it is in `offsets` [outer, chunks, inner], their own cumulative sum (HAS_OFFSETS: more than one chunk).
// The variant gives V (x and y), O (offsets), F (arithmetic).
#include "lib/index.wgsl"

struct Params {
  count: u32,   // outer * chunks * inner
  length: u32,  // along the axis
  inner: u32,   // units along the inner axes
  chunk: u32,
  chunks: u32,
}

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read> offsets: array<O>;
@group(0) @binding(2) var<storage, read_write> y: array<V>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let item = workgroup_index(workgroup, grid) * 64u + lane;
  if (item >= params.count) { return; }
  let inner = params.inner;
  let chunk = item / inner % params.chunks;
  let first = chunk * params.chunk;
  let size = min(params.chunk, params.length - first);
  let base = (item / inner / params.chunks * params.length + first) * inner + item % inner;
  var total = F(0);
  if (HAS_OFFSETS) {
    if (REVERSED) {
      if (chunk + 1u < params.chunks) { total = F(offsets[item + inner]); }
    } else {
      if (chunk > 0u) { total = F(offsets[item - inner]); }
    }
  }
  for (var i = 0u; i < size; i++) {
    let at = base + select(i, size - 1u - i, REVERSED) * inner;
    total += F(x[at]);
    y[at] = V(total);
  }
}
