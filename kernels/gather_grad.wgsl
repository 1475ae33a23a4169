// dTable[r, :] = sum of dy[i, :] over the i with ids[i] = r, added in the order of i, so that the result has one value only.
// dTable holds zeros before. The first i of each chain (gather_links.wgsl) walks it and writes its row.
// One lane writes one Y. The variant gives V (dy), F (arithmetic), Y (dTable).
#include "lib/index.wgsl"

struct Params {
  count: u32,  // units of dy
  width: u32,  // units of a row
  n: u32,      // ids
  lastRow: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> links: array<u32>;
@group(0) @binding(2) var<storage, read> dy: array<V>;
@group(0) @binding(3) var<storage, read_write> dTable: array<Y>;
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let item = workgroup_index(workgroup, grid) * 64u + lane;
  if (item >= params.count) { return; }
  let i = item / params.width;
  let column = item % params.width;
  var j = links[i];
  if ((j & 0x80000000u) != 0u) { return; }
  var total = F(dy[item]);
  while (j < params.n) {
    total += F(dy[j * params.width + column]);
    j = links[j] & 0x7fffffffu;
  }
  dTable[min(ids[i], params.lastRow) * params.width + column] = Y(total);
}
