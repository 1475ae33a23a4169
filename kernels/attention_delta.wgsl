// What the gradients need of each query row: the maximum and 1 / sum of its softmax, and delta, the sum of dy * output, which
// softmax's gradient subtracts (Dao 2023, section 3.1). One lane a row, whatever the order of the rows.
// The variant gives const WORKGROUP and what lib/attention.wgsl asks for.
#include "lib/attention.wgsl"

@group(0) @binding(0) var<storage, read> dy: Rows;
@group(0) @binding(1) var<storage, read> output: Rows;
@group(0) @binding(2) var<storage, read> softmax: array<Softmax>;
@group(0) @binding(3) var<storage, read_write> statistics: array<Statistics>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = workgroup_index(workgroup, grid) * WORKGROUP + lane;
  if (row >= arrayLength(&statistics)) { return; }
  var delta = 0.0;
  for (var c = 0u; c < chunks(); c++) { delta += dot(load_chunk(&dy, row, c), load_chunk(&output, row, c)); }
  statistics[row] = Statistics(softmax[row].maximum, softmax[row].inverse_sum, delta);
}
