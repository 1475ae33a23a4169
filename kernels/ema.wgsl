// Moving average of one parameter, in place. One lane handles one V.
//   OPERATION 0, update: average += (1 - decay) (parameter - average)
//   OPERATION 1, copy:   parameter = average
//   OPERATION 2, swap:   the two change places
// The variant gives: alias V (as stored), const OPERATION.
#include "lib/index.wgsl"

struct Params {
  count: u32,  // of V
}

@group(0) @binding(0) var<storage, read_write> average: array<V>;
@group(0) @binding(1) var<storage, read_write> parameter: array<V>;
@group(0) @binding(2) var<storage, read> decay: array<f32, 1>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i >= params.count) { return; }
  let a = average[i];
  if (OPERATION == 0u) {
    average[i] = a + (1.0 - decay[0]) * (parameter[i] - a);
  } else {
    if (OPERATION == 2u) { average[i] = parameter[i]; }
    parameter[i] = a;
  }
}
