// Between an image [N, C, H, W] and its patches [N, H/p * W/p, p * p * C], in which the channel is innermost:
//   patches[n, (H/p, W/p), (row, column, c)] = image[n, c, y * p + row, x * p + column]
// INVERSE makes the image from the patches. One lane copies one element, in the order of the patches.
#include "lib/index.wgsl"

struct Params {
  count: u32,
  channels: u32, height: u32, width: u32,
  patch_size: u32,
}

@group(0) @binding(0) var<storage, read> source: array<T>;
@group(0) @binding(1) var<storage, read_write> result: array<T>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i >= params.count) { return; }
  let p = params.patch_size;
  let size = vec2u(params.width, params.height) / p;
  let c = i % params.channels;
  let inner = i / params.channels % (p * p);
  let token = i / params.channels / (p * p);
  let at = vec2u(token % size.x, token / size.x % size.y) * p + vec2u(inner % p, inner / p);
  let sample = token / (size.x * size.y);
  let pixel = ((sample * params.channels + c) * params.height + at.y) * params.width + at.x;
  if (INVERSE) { result[pixel] = source[i]; } else { result[i] = source[pixel]; }
}
