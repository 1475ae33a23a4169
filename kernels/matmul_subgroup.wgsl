// y = gate activate(op(a) op(b) + bias) + residual without shared memory: one workgroup is one subgroup and computes a tile of
// ROWS x 4 SUBGROUP. A lane owns four columns, loads its own part of b, and holds ROWS x 4 sums in f32. The tile's part
// of a is loaded once, spread over the lanes, and shuffled to all of them. k is summed in order, four at a time.
// Made for software adapters, where each load is done lane by lane and costs as much as 20 to 60 multiply-adds.
#include "lib/matmul.wgsl"

const ROWS4 = ROWS / 4u;
const LOADS = max(ROWS / SUBGROUP, 1u);  // vec4 loads of a in each lane for four k
const SOURCES = min(ROWS, SUBGROUP);     // lanes whose loads are used; in a wider subgroup the others repeat them
const_assert SUBGROUP >= 4u && (SUBGROUP & (SUBGROUP - 1u)) == 0u;

@compute @workgroup_size(SUBGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let tile = locate(workgroup_index(workgroup, grid), ROWS, 4u * SUBGROUP);
  if (tile.batch >= params.batch) { return; }
  let source = lane % SOURCES;
  let column = tile.column + 4u * lane;
  var sums: array<vec4f, ROWS>;
  for (var k = 0u; k < params.k; k += 4u) {
    var part: array<vec4f, LOADS>;  // of op(a): ROWS blocks of four
    for (var i = 0u; i < LOADS; i++) {
      let block = i * SOURCES + source;
      if (TRANSPOSE_A) { part[i] = a_along_m(tile, tile.row + 4u * (block % ROWS4), k + block / ROWS4); }
      else { part[i] = a_along_k(tile, tile.row + block, k); }
    }
    var x = mat4x4f();  // op(b)[k..k+3, column..column+3], a vector for each k
    if (TRANSPOSE_B) {
      x = transpose(mat4x4f(
        b_along_k(tile, k, column), b_along_k(tile, k, column + 1u),
        b_along_k(tile, k, column + 2u), b_along_k(tile, k, column + 3u),
      ));
    } else {
      x = mat4x4f(
        b_along_n(tile, k, column), b_along_n(tile, k + 1u, column),
        b_along_n(tile, k + 2u, column), b_along_n(tile, k + 3u, column),
      );
    }
    for (var i = 0u; i < LOADS; i++) {
      for (var j = 0u; j < SOURCES; j++) {
        let s = subgroupShuffle(part[i], j);
        let block = i * SOURCES + j;
        if (TRANSPOSE_A) {
          let row = 4u * (block % ROWS4);
          let xk = x[block / ROWS4];
          sums[row] += s.x * xk;
          sums[row + 1u] += s.y * xk;
          sums[row + 2u] += s.z * xk;
          sums[row + 3u] += s.w * xk;
        } else {
          sums[block] += s.x * x[0] + s.y * x[1] + s.z * x[2] + s.w * x[3];
        }
      }
    }
  }
  let bias = bias_at(column);
  var gated = gate_row(tile.row);
  for (var i = 0u; i < ROWS; i++) {
    finish(tile, tile.row + i, column, sums[i], bias, gated);
    gated = next_gate_row(gated);
  }
}
