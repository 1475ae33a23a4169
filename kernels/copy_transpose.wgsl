// A strided copy, see copy_common.wgsl, where the innermost axes of x and y are different ones, both divisible by four:
// one lane turns a block of four by four elements, with vector loads and stores. The variant gives V, X (the same), RANK.
#include "copy_common.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let item = workgroup_index(workgroup, grid) * 64u + lane;
  if (item >= params.count) { return; }
  let at = box_at(item);
  let a = x[at.x];
  let b = x[at.x + params.xStep];
  let c = x[at.x + 2u * params.xStep];
  let d = x[at.x + 3u * params.xStep];
  y[at.y] = V(a.x, b.x, c.x, d.x);
  y[at.y + params.yStep] = V(a.y, b.y, c.y, d.y);
  y[at.y + 2u * params.yStep] = V(a.z, b.z, c.z, d.z);
  y[at.y + 3u * params.yStep] = V(a.w, b.w, c.w, d.w);
}
