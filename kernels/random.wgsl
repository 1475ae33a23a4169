// y[sample, 4 block ..] = four random numbers from Philox with the key of the sample and the counter words
// (block, counter[0], stream, 0): a function of these alone, whatever else is in the batch.
//   KIND 0: the words themselves (u32); 1: uniform in [0, 1), of 24 bits; 2: standard normal (Box and Muller 1958)
// One lane makes one block of one sample.
// The variant gives: alias Y (stored), const KIND.
#include "lib/index.wgsl"
#include "lib/philox.wgsl"

struct Params {
  samples: u32,
  size: u32,    // elements of a sample
  blocks: u32,  // ceil(size / 4)
  stream: u32,
}

@group(0) @binding(0) var<storage, read> keys: array<vec2u>;
@group(0) @binding(1) var<storage, read> counter: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<Y>;
@group(0) @binding(3) var<uniform> params: Params;

// In [0, 1): every value is a multiple of 2^-24 and exact.
fn uniform_of(words: vec4u) -> vec4f {
  return vec4f(words >> vec4u(8u)) * 0x1p-24;
}

// Pairs (radius, angle) from words (x, y) and (z, w). The radius takes a uniform in (0, 1], down to 2^-33, so that the
// tail reaches 6.7 and log never sees 0; max() because log near 1 may err above 0. The angle lies in [-pi, pi), where
// WGSL bounds the error of sin and cos.
fn normal_of(words: vec4u) -> vec4f {
  let radius = sqrt(max(-2.0 * log(vec2f(words.xz) * 0x1p-32 + 0x1p-33), vec2f()));
  let angle = 6.283185307179586 * (vec2f(words.yw >> vec2u(8u)) * 0x1p-24 - 0.5);
  let a = radius * cos(angle);
  let b = radius * sin(angle);
  return vec4f(a.x, b.x, a.y, b.y);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 64u + lane;
  if (i >= params.samples * params.blocks) { return; }
  let sample = i / params.blocks;
  let block = i % params.blocks;
  let words = philox(vec4u(block, counter[0], params.stream, 0u), keys[sample]);
  var values: vec4<Y>;
  if (KIND == 0u) { values = vec4<Y>(words); }
  if (KIND == 1u) { values = vec4<Y>(uniform_of(words)); }
  if (KIND == 2u) { values = vec4<Y>(normal_of(words)); }
  let first = sample * params.size + 4u * block;
  let count = min(4u, params.size - 4u * block);
  for (var j = 0u; j < count; j++) { y[first + j] = values[j]; }
}
