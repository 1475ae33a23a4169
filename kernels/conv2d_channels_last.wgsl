// y[n, p, c] = x[n, c, p], the channels padded with zeros to a multiple of 4. One lane writes up to 16 channels of a
// pixel: they fill a cache line, while the lanes beside it read the next pixels.
#include "lib/index.wgsl"

struct Params {
  count: u32,  // lanes: samples * ceil(channels / 16) * pixels
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
  let blocks = (params.channels + 15u) / 16u;
  let pixel = i % params.pixels;
  let block = (i / params.pixels) % blocks;
  let sample = i / params.pixels / blocks;
  for (var c4 = 4u * block; c4 < min(4u * block + 4u, channels4); c4++) {
    var value = V();
    for (var j = 0u; j < 4u; j++) {
      let c = 4u * c4 + j;
      if (c < params.channels) { value[j] = x[(sample * params.channels + c) * params.pixels + pixel]; }
    }
    y[(sample * params.pixels + pixel) * channels4 + c4] = value;
  }
}
