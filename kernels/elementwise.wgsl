// y = apply(a, b, c), element by element, the inputs broadcast to y's shape.
// One lane computes `run` Y (of 4 elements when the innermost axis allows), 256 apart. y is contiguous; axes are merged on the host, so
// that most calls have RANK 1. An input that repeats along the innermost axis is bound as scalars and splat into F.
// The variant gives: alias A, B, C, Y (storage), FA, FB, FC, FY (arithmetic),
// SA, SB, SC (one element of it), LA, LB, LC (what is loaded, in arithmetic's type: WGSL makes no vec4f of an f16 at once),
// const INPUTS, RANK, and fn apply.
#include "lib/index.wgsl"
#include "lib/elementwise.wgsl"

struct Params {
  count: u32,  // of Y
  run: u32,
  size0: u32, size1: u32, size2: u32, size3: u32,  // sizes of the merged axes, innermost first, in units of Y
  a0: u32, a1: u32, a2: u32, a3: u32, a4: u32,  // strides of each input, in its own units
  b0: u32, b1: u32, b2: u32, b3: u32, b4: u32,
  c0: u32, c1: u32, c2: u32, c3: u32, c4: u32,
  p: f32, q: f32,  // scalar operands
}

@group(0) @binding(0) var<storage, read> a: array<A>;
@group(0) @binding(1) var<storage, read> b: array<B>;
@group(0) @binding(2) var<storage, read> c: array<C>;
@group(0) @binding(3) var<storage, read_write> y: array<Y>;
@group(0) @binding(4) var<uniform> params: Params;

fn input_offsets(i: u32) -> vec3u {
  var rest = i;
  var at = vec3u(0u);
  if (RANK > 1u) { at += (rest % params.size0) * vec3u(params.a0, params.b0, params.c0); rest /= params.size0; }
  if (RANK > 2u) { at += (rest % params.size1) * vec3u(params.a1, params.b1, params.c1); rest /= params.size1; }
  if (RANK > 3u) { at += (rest % params.size2) * vec3u(params.a2, params.b2, params.c2); rest /= params.size2; }
  if (RANK > 4u) { at += (rest % params.size3) * vec3u(params.a3, params.b3, params.c3); rest /= params.size3; }
  if (RANK == 1u) { at += rest * vec3u(params.a0, params.b0, params.c0); }
  if (RANK == 2u) { at += rest * vec3u(params.a1, params.b1, params.c1); }
  if (RANK == 3u) { at += rest * vec3u(params.a2, params.b2, params.c2); }
  if (RANK == 4u) { at += rest * vec3u(params.a3, params.b3, params.c3); }
  if (RANK == 5u) { at += rest * vec3u(params.a4, params.b4, params.c4); }
  return at;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = workgroup_index(workgroup, grid) * 256u * params.run + lane;
  let end = min(first + 256u * params.run, params.count);
  for (var i = first; i < end; i += 256u) {
    let at = input_offsets(i);
    var va = FA();
    var vb = FB();
    var vc = FC();
    if (INPUTS > 0u) { va = FA(LA(a[at.x])); }
    if (INPUTS > 1u) { vb = FB(LB(b[at.y])); }
    if (INPUTS > 2u) { vc = FC(LC(c[at.z])); }
    y[i] = Y(apply(va, vb, vc));
  }
}
