// For the gradients of layer norm's parameters: sums over the rows of one chunk of one sample,
//   sums[chunk, c] = sum of dy, products[chunk, c] = sum of dy * xhat, xhat = (x - mean) * rstd.
// One lane sums one V of columns over at most 64 rows; chunks lie in the order of the samples.
// The variant gives: alias V, F (elements as stored, in arithmetic).
#include "lib/index.wgsl"

const CHUNK = 64u;  // rows

struct Params {
  columns: u32,          // of V
  samples: u32, rows_per_sample: u32,  // row i of x is of sample i % samples
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
  let item = workgroup_index(workgroup, grid) * 32u + lane;
  if (item >= params.count) { return; }
  let column = item % params.columns;
  let sample = item / params.columns / params.chunks;
  let first = item / params.columns % params.chunks * CHUNK;
  let last = min(first + CHUNK, params.rows_per_sample);
  var sum = F();
  var product = F();
  for (var i = first; i < last; i++) {
    let row = i * params.samples + sample;
    let at = row * params.columns + column;
    let g = F(dy[at]);
    sum += g;
    product += g * ((F(x[at]) - statistics[row].x) * statistics[row].y);
  }
  sums[item] = sum;
  products[item] = product;
}
