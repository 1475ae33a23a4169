// result[n, c, y, x] = scale * sum of source[n, c, ...] over a box of source pixels, rows first; 0 for an empty box.
// One lane computes RUN pixels of a row: 1 on GPUs, so that neighbours store together; more on software adapters, where
// the divisions that find a row cost more than the pixels. The variant gives RUN and `fn box(i, source, result) -> vec2u`:
// along one axis of `source` and `result` pixels, the first source pixel for result pixel i and the one after the last.
#include "lib/index.wgsl"

struct Params {
  count: u32,  // runs
  runs: u32,   // in a row
  source_height: u32, source_width: u32,
  result_height: u32, result_width: u32,
  factor: u32,  // of pools and strides
  scale: f32,
}

@group(0) @binding(0) var<storage, read> source: array<T>;
@group(0) @binding(1) var<storage, read_write> result: array<T>;
@group(0) @binding(2) var<uniform> params: Params;

// floor(n / d) for quotients below 2^22. Software adapters divide integers lane by lane, floats all at once.
fn quotient(n: u32, d: u32) -> u32 {
  let near = u32(f32(n) / f32(d));
  return near + u32((near + 1u) * d <= n) - u32(near * d > n);
}

// Nearest neighbour: pixel floor(i * source / result).
fn nearest(i: u32, source: u32, result: u32) -> vec2u {
  let at = quotient(i * source, result);
  return vec2u(at, at + 1u);
}
// The gradient's box: all j with floor(j * result / source) = i, where the roles of source and result are swapped.
fn nearest_grad(i: u32, source: u32, result: u32) -> vec2u {
  return vec2u(quotient(i * source + result - 1u, result), quotient((i + 1u) * source + result - 1u, result));
}

// Windows of factor pixels, side by side; what is left at the end is in none.
fn pool(i: u32, source: u32, result: u32) -> vec2u { return vec2u(i, i + 1u) * params.factor; }
fn pool_grad(i: u32, source: u32, result: u32) -> vec2u {
  let at = quotient(i, params.factor);
  return vec2u(at, min(at + 1u, source));
}

// Every factor-th pixel.
fn strided(i: u32, source: u32, result: u32) -> vec2u { return vec2u(i * params.factor, i * params.factor + 1u); }
fn strided_grad(i: u32, source: u32, result: u32) -> vec2u {
  let at = quotient(i, params.factor);
  return vec2u(at, select(at, at + 1u, at * params.factor == i));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i >= params.count) { return; }
  let row = i / params.runs;
  let plane = row / params.result_height;
  let ys = box(row - plane * params.result_height, params.source_height, params.result_height);
  let first = (i - row * params.runs) * RUN;
  for (var j = first; j < min(first + RUN, params.result_width); j++) {
    let xs = box(j, params.source_width, params.result_width);
    var sum = 0.0;
    for (var y = ys.x; y < ys.y; y++) {
      for (var x = xs.x; x < xs.y; x++) {
        sum += f32(source[(plane * params.source_height + y) * params.source_width + x]);
      }
    }
    result[row * params.result_width + j] = T(params.scale * sum);
  }
}
