// The interface of the matmul kernels: y = gate activate(op(a) op(b) + bias) + residual, batch by batch.
// op(a) is m x k, stored [m, k], or [k, m] with TRANSPOSE_A; op(b) is k x n, stored [k, n], or [n, k] with TRANSPOSE_B.
// Blocks of four elements along a stored row are loaded at once or one by one; outside the matrices they are 0 or repeat a value
// that is not used. The variant gives: alias A, B, BIAS, Y (storage), L (what load_a, load_b and load_bias return), F = vec4f,
// const TRANSPOSE_A, TRANSPOSE_B, HAS_BIAS, HAS_GATE, HAS_RESIDUAL, ACCUMULATE, fn activate, half4.wgsl and matmul_vec4.wgsl or
// half1.wgsl and matmul_vec1.wgsl, and for each of a, b and bias its matmul_*_f32.wgsl or _f16.wgsl.
#include "lib/index.wgsl"
#include "lib/elementwise.wgsl"

struct Params {
  m: u32, n: u32, k: u32,
  a_stride: u32, b_stride: u32, y_stride: u32,  // elements from one stored row to the next
  a_offset: u32,  // element of a where op(a) begins: a range of its stored columns
  y_column: u32,  // column of y, bias and residual that column 0 of op(b) belongs to
  row_tiles: u32, column_tiles: u32,
  batch: u32, batch_inner: u32,  // matrices; the innermost axis of at most two batch axes
  a_outer: u32, a_inner: u32, b_outer: u32, b_inner: u32,  // elements from one matrix to the next, 0 where shared
  part: u32, part_step: u32,  // columns of y that lie together, and elements from there to the next such part
  gate_rows: u32,  // row i of y is multiplied by row i % gate_rows
  save_preactivation: u32,  // 1: write it. No constant: with and without gradients the same code must round y
}

@group(0) @binding(0) var<storage, read> a: array<A>;
@group(0) @binding(1) var<storage, read> b: array<B>;
@group(0) @binding(2) var<storage, read> bias: array<BIAS>;
@group(0) @binding(3) var<storage, read> residual: array<Y>;
@group(0) @binding(4) var<storage, read_write> y: array<Y>;
@group(0) @binding(5) var<storage, read_write> preactivation: array<Y>;
@group(0) @binding(6) var<storage, read> gate: array<Y>;  // [gate_rows, columns of y]
@group(0) @binding(7) var<uniform> params: Params;

struct Tile { row: u32, column: u32, batch: u32, a: u32, b: u32 }  // a, b: the element where the matrix begins

// Row tiles of one column tile follow each other, so that its part of b stays in the cache.
fn locate(index: u32, rows: u32, columns: u32) -> Tile {
  let tiles = params.row_tiles * params.column_tiles;
  let batch = index / tiles;
  let tile = index % tiles;
  let outer = batch / params.batch_inner;
  let inner = batch % params.batch_inner;
  return Tile(
    tile % params.row_tiles * rows, tile / params.row_tiles * columns, batch,
    params.a_offset + outer * params.a_outer + inner * params.a_inner, outer * params.b_outer + inner * params.b_inner,
  );
}

fn beyond(at: u32, end: u32) -> u32 { return max(end, at) - at; }  // elements from `at` to `end`, or 0

// op(a)[row, k..k+3], 0 where k is beyond the end. Rows beyond m repeat the last.
fn a_along_k(tile: Tile, row: u32, k: u32) -> vec4f {
  let at = a4(tile.a + min(row, params.m - 1u) * params.a_stride + k, beyond(k, params.k));
  return select(vec4f(0.0), at, k < params.k);
}
// op(a)[row..row+3, k], where a is stored [k, m].
fn a_along_m(tile: Tile, row: u32, k: u32) -> vec4f {
  let at = a4(tile.a + min(k, params.k - 1u) * params.a_stride + row, beyond(row, params.m));
  return select(vec4f(0.0), at, k < params.k);
}
// op(b)[k, column..column+3], 0 where k is beyond the end: the last row again, times op(a)'s 0, would be NaN of an infinity.
fn b_along_n(tile: Tile, k: u32, column: u32) -> vec4f {
  let at = b4(tile.b + min(k, params.k - 1u) * params.b_stride + column, beyond(column, params.n));
  return select(vec4f(0.0), at, k < params.k);
}
// op(b)[k..k+3, column], where b is stored [n, k].
fn b_along_k(tile: Tile, k: u32, column: u32) -> vec4f {
  let at = b4(tile.b + min(column, params.n - 1u) * params.b_stride + k, beyond(k, params.k));
  return select(vec4f(0.0), at, k < params.k);
}

fn bias_at(column: u32) -> vec4f {
  if (!HAS_BIAS) { return vec4f(0.0); }
  return bias4(params.y_column + column, beyond(column, params.n));
}

// The row of the gate for a row of y, and for the row after it: the remainder once a tile, as division is slow on a CPU.
fn gate_row(row: u32) -> u32 {
  if (!HAS_GATE) { return 0u; }
  return row % params.gate_rows;
}
fn next_gate_row(row: u32) -> u32 { return select(row + 1u, 0u, row + 1u == params.gate_rows); }

// The epilogue of four columns of one row.
fn finish(tile: Tile, row: u32, column: u32, product: vec4f, bias: vec4f, gate_row: u32) {
  if (row >= params.m || column >= params.n) { return; }
  let y_column = params.y_column + column;
  let in_part = y_column / params.part * params.part_step + y_column % params.part;
  let at = (tile.batch * params.m + row) * params.y_stride + in_part;
  let count = params.n - column;
  var x = product;
  if (HAS_BIAS) { x += bias; }
  if (params.save_preactivation != 0u) { store_preactivation(at, x, count); }
  x = activate(x);
  if (HAS_GATE) { x *= gate4(gate_row * params.y_stride + y_column, count); }
  if (HAS_RESIDUAL) { x += residual4(at, count); }
  if (ACCUMULATE) { x += y4(at, count); }
  store_y(at, x, count);
}
