// The box of a strided copy: y[yBase + sum(i_k y_k)] = x[xBase + sum(i_k x_k)] over i in the box, axes innermost first,
// merged on the host to RANK of them. Units and strides of an axis are what the kernel that includes this moves at once.
#include "lib/index.wgsl"

struct Params {
  count: u32,  // items: one a lane
  run: u32,    // units of axis 0 that one item moves, one after the other
  size0: u32, size1: u32, size2: u32, size3: u32,  // of the box: axis 0 in items, the others in units
  x0: u32, x1: u32, x2: u32, x3: u32, x4: u32,  // strides
  y0: u32, y1: u32, y2: u32, y3: u32, y4: u32,
  xBase: u32,
  yBase: u32,
  xUnit: u32,  // stride between the units of a run
  yUnit: u32,
  xStep: u32,  // stride between the elements of a unit
  yStep: u32,
}

@group(0) @binding(0) var<storage, read> x: array<X>;
@group(0) @binding(1) var<storage, read_write> y: array<V>;
@group(0) @binding(2) var<uniform> params: Params;

// Where an item starts in x and y.
fn box_at(item: u32) -> vec2u {
  var rest = item;
  var at = vec2u(params.xBase, params.yBase);
  if (RANK > 1u) { at += (rest % params.size0) * vec2u(params.x0, params.y0); rest /= params.size0; }
  if (RANK > 2u) { at += (rest % params.size1) * vec2u(params.x1, params.y1); rest /= params.size1; }
  if (RANK > 3u) { at += (rest % params.size2) * vec2u(params.x2, params.y2); rest /= params.size2; }
  if (RANK > 4u) { at += (rest % params.size3) * vec2u(params.x3, params.y3); rest /= params.size3; }
  if (RANK == 1u) { at += rest * vec2u(params.x0, params.y0); }
  if (RANK == 2u) { at += rest * vec2u(params.x1, params.y1); }
  if (RANK == 3u) { at += rest * vec2u(params.x2, params.y2); }
  if (RANK == 4u) { at += rest * vec2u(params.x3, params.y3); }
  if (RANK == 5u) { at += rest * vec2u(params.x4, params.y4); }
  return at;
}
