// The matrices of lib/matrix_tiles.wgsl in plain WGSL, so that what is built on them can be tested on any adapter with subgroups:
// 16 x 16, element i, counted row by row, in lane i % SUBGROUP. It is slow, and nothing chooses it but tests.
const ELEMENTS = 256u / SUBGROUP;
const_assert SUBGROUP <= 16u && 16u % SUBGROUP == 0u;
struct Left { elements: array<f32, ELEMENTS> }
struct Right { elements: array<f32, ELEMENTS> }
struct Sum { elements: array<f32, ELEMENTS> }

// The bound of a loop, hidden from the compiler: unrolled, it would take seconds to compile.
fn rolled(count: u32) -> u32 { return min(count, count + subgroup_lane); }
// The lane's element i as (row, column).
fn place(i: u32) -> vec2u { return vec2u(i * SUBGROUP / 16u, i * SUBGROUP % 16u + subgroup_lane); }

fn load_left(at: u32, stride: u32, transposed: bool) -> Left {
  var x = Left();
  for (var i = 0u; i < rolled(ELEMENTS); i++) {
    let p = select(place(i), place(i).yx, transposed);
    x.elements[i] = f32(factor_tile[at + p.x * stride + p.y]);
  }
  return x;
}
fn load_right(at: u32, stride: u32, transposed: bool) -> Right {
  return Right(load_left(at, stride, transposed).elements);
}
fn load_sum(at: u32, stride: u32) -> Sum {
  var x = Sum();
  for (var i = 0u; i < rolled(ELEMENTS); i++) {
    let p = place(i);
    x.elements[i] = sum_tile[at + p.x * stride + p.y];
  }
  return x;
}
fn store_sum(at: u32, stride: u32, sum: Sum) {
  for (var i = 0u; i < rolled(ELEMENTS); i++) {
    let p = place(i);
    sum_tile[at + p.x * stride + p.y] = sum.elements[i];
  }
}
fn multiply(a: Left, b: Right, sum: Sum) -> Sum {
  var x = sum;
  for (var i = 0u; i < rolled(ELEMENTS); i++) {
    let p = vec2u(i * SUBGROUP / 16u, i * SUBGROUP % 16u);  // of lane 0: the lanes differ in the column alone
    for (var k = 0u; k < rolled(16u); k++) {
      let element = 16u * p.x + k;
      let s = subgroupShuffle(a.elements[element / SUBGROUP], element % SUBGROUP);
      x.elements[i] += s * b.elements[(16u * k + p.y) / SUBGROUP];
    }
  }
  return x;
}
