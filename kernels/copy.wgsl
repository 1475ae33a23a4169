// Copies a box of one tensor to a box of another: y[yBase + sum(i_k y_k)] = x[xBase + sum(i_k x_k)] over i in the box.
// One lane writes one V. Its four elements may lie xStep apart in x, as when a transpose turns columns into rows.
// The variant gives V (written), X (read), RANK (axes of the box, merged on the host), and `load`, which reads a V.
#include "lib/index.wgsl"

struct Params {
  count: u32,  // units of V in the box
  size0: u32, size1: u32, size2: u32, size3: u32,  // of the box, innermost first, in V
  x0: u32, x1: u32, x2: u32, x3: u32, x4: u32,  // strides in X
  y0: u32, y1: u32, y2: u32, y3: u32, y4: u32,  // strides in V
  xBase: u32,
  yBase: u32,
  xStep: u32,  // between neighbours of the innermost axis, in X
}

@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<V>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i >= params.count) { return; }
  var rest = i;
  var at = vec2u(params.xBase, params.yBase);
  if (RANK > 1u) { at += (rest % params.size0) * vec2u(params.x0, params.y0); rest /= params.size0; }
  else { at += rest * vec2u(params.x0, params.y0); }
  if (RANK > 2u) { at += (rest % params.size1) * vec2u(params.x1, params.y1); rest /= params.size1; }
  else if (RANK == 2u) { at += rest * vec2u(params.x1, params.y1); }
  if (RANK > 3u) { at += (rest % params.size2) * vec2u(params.x2, params.y2); rest /= params.size2; }
  else if (RANK == 3u) { at += rest * vec2u(params.x2, params.y2); }
  if (RANK > 4u) { at += (rest % params.size3) * vec2u(params.x3, params.y3); rest /= params.size3; }
  else if (RANK == 4u) { at += rest * vec2u(params.x3, params.y3); }
  if (RANK == 5u) { at += rest * vec2u(params.x4, params.y4); }
  y[at.y] = load(at.x);
}
