// For the gradients of layer norm's parameters: sums over the rows of one chunk of one sample,
//   sums[chunk, c] = sum of dy, products[chunk, c] = sum of dy * xhat, xhat = (x - mean) * rstd.
// One lane sums one V of columns over at most 64 rows; chunks lie in the order of the samples.
// The variant gives: alias V, F (elements as stored, in arithmetic).
#include "lib/index.wgsl"

const CHUNK = 64u;  // rows

struct Params {
  columns: u32,          // of V
  rows_per_sample: u32,
  chunks: u32,           // of a sample
  count: u32,            // columns * chunks * samples
}

@group(0) @binding(0) var<storage, read> dy: array<V>;
@group(0) @binding(1) var<storage, read> x: array<V>;
@group(0) @binding(2) var<storage, read> statistics: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> sums: array<F>;
@group(0) @binding(4) var<storage, read_write> products: array<F>;
@group(0) @binding(5) var<uniform> params: Params;

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 32u + lane;
  if (i >= params.count) { return; }
  let column = i % params.columns;
  let sample = i / params.columns / params.chunks;
  let first = i / params.columns % params.chunks * CHUNK;
  let last = min(first + CHUNK, params.rows_per_sample);
  var sum = F();
  var product = F();
  for (var row = sample * params.rows_per_sample + first; row < sample * params.rows_per_sample + last; row++) {
    let at = row * params.columns + column;
    let g = F(dy[at]);
    sum += g;
    product += g * ((F(x[at]) - statistics[row].x) * statistics[row].y);
  }
  sums[i] = sum;
  products[i] = product;
}
