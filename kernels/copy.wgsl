// A strided copy, see copy_common.wgsl. One lane moves a run of V along the innermost axis of y. The four elements of a V
// may lie xStep apart in x. The variant gives V (written), X (read), RANK, and lib/copy_unit.wgsl or _elements.wgsl.
#include "copy_common.wgsl"

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let item = workgroup_index(workgroup, grid) * 256u + lane;
  if (item >= params.count) { return; }
  let at = box_at(item);
  for (var i = 0u; i < params.run; i++) { y[at.y + i * params.yUnit] = load(at.x + i * params.xUnit); }
}
