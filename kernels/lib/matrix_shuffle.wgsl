// The matrices of lib/tile_product.wgsl in plain WGSL, so that what is built on them can be tested on any adapter with subgroups:
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

fn load_left(at: u32) -> Left {
  var x = Left();
  for (var i = 0u; i < rolled(ELEMENTS); i++) {
    let p = select(place(i), place(i).yx, LEFT_TRANSPOSED);
    x.elements[i] = f32(left_tile[at + p.x * LEFT_STRIDE + p.y]);
  }
  return x;
}
fn load_right(at: u32) -> Right {
  var x = Right();
  for (var i = 0u; i < rolled(ELEMENTS); i++) {
    let p = select(place(i), place(i).yx, RIGHT_TRANSPOSED);
    x.elements[i] = f32(right_tile[at + p.x * RIGHT_STRIDE + p.y]);
  }
  return x;
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
fn store_sum(at: u32, sum: Sum) {
  for (var i = 0u; i < rolled(ELEMENTS); i++) {
    let p = place(i);
    sum_tile[at + 16u * p.x + p.y] = sum.elements[i];
  }
}
