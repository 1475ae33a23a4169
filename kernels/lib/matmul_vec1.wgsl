// Blocks of four elements one by one, for matmuls with stored rows of any length. `count` elements exist from `at` on;
// the others are 0 and not stored. Loads beyond the array's end are allowed in WGSL, and cheaper than a branch.
fn within(count: u32) -> vec4<bool> { return vec4u(0u, 1u, 2u, 3u) < vec4u(count); }

fn a4(at: u32, count: u32) -> vec4f {
  let x = vec4f(load_a(at), load_a(at + 1u), load_a(at + 2u), load_a(at + 3u));
  return select(vec4f(0.0), x, within(count));
}
fn b4(at: u32, count: u32) -> vec4f {
  let x = vec4f(load_b(at), load_b(at + 1u), load_b(at + 2u), load_b(at + 3u));
  return select(vec4f(0.0), x, within(count));
}
fn bias4(at: u32, count: u32) -> vec4f {
  return vec4f(load_bias(at), load_bias(at + 1u), load_bias(at + 2u), load_bias(at + 3u));
}
fn residual4(at: u32, count: u32) -> vec4f {
  return vec4f(f32(residual[at]), f32(residual[at + 1u]), f32(residual[at + 2u]), f32(residual[at + 3u]));
}
fn gate4(at: u32, count: u32) -> vec4f {
  return vec4f(f32(gate[at]), f32(gate[at + 1u]), f32(gate[at + 2u]), f32(gate[at + 3u]));
}
fn y4(at: u32, count: u32) -> vec4f {
  return vec4f(f32(y[at]), f32(y[at + 1u]), f32(y[at + 2u]), f32(y[at + 3u]));
}
fn store_y(at: u32, x: vec4f, count: u32) {
  for (var i = 0u; i < min(count, 4u); i++) { y[at + i] = Y(x[i]); }
}
fn store_preactivation(at: u32, x: vec4f, count: u32) {
  for (var i = 0u; i < min(count, 4u); i++) { preactivation[at + i] = Y(x[i]); }
}
