// y[n, p, c] = x[n, c, p], the channels padded with zeros to a multiple of 4. One lane writes one vec4.
#include "lib/index.wgsl"

struct Params {
  count: u32,  // of y, in vec4
  channels: u32,
  pixels: u32,
}

@group(0) @binding(0) var<storage, read> x: array<T>;
@group(0) @binding(1) var<storage, read_write> y: array<V>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i >= params.count) { return; }
  let channels4 = (params.channels + 3u) / 4u;
  let pixel = i % params.pixels;
  let c4 = (i / params.pixels) % channels4;
  let sample = i / params.pixels / channels4;
  var value: V;
  for (var j = 0u; j < 4u; j++) {
    let c = 4u * c4 + j;
    if (c < params.channels) { value[j] = x[(sample * params.channels + c) * params.pixels + pixel]; }
  }
  y[(sample * params.pixels + pixel) * channels4 + c4] = value;
}
