// Mean and sum of squared deviations of each row of x [rows, pixels]. LANES lanes share a row.
// The variant gives: alias V, F, S, const LANES, WORKGROUP, WIDTH, and fold_sum.
#include "lib/index.wgsl"
#include "lib/lane_sum.wgsl"
#include "lib/moments.wgsl"
#include "lib/group_norm.wgsl"

alias Sum = f32;

@group(0) @binding(0) var<storage, read> x: array<V>;
@group(0) @binding(1) var<storage, read_write> statistics: array<Statistics>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let slot = workgroup_index(workgroup, grid) * WORKGROUP + lane;
  let row = slot / LANES;
  let base = min(row, params.rows - 1u) * params.pixels;
  var moments: Moments;
  for (var i = slot % LANES; i < params.pixels; i += LANES) { moments_add(&moments, F(x[base + i])); }
  let result = moments_join(moments, params.pixels, lane);
  if (slot % LANES == 0u && row < params.rows) { statistics[row] = Statistics(result.x, result.y); }
}
