// Blocks of four elements, for matmuls whose stored rows are all multiples of 4 long: one load or store each.
// `count` elements exist from `at` on: all four or none, and then nobody uses the value.
fn a4(at: u32, count: u32) -> vec4f { return load_a(at / 4u); }
fn b4(at: u32, count: u32) -> vec4f { return load_b(at / 4u); }
fn bias4(at: u32, count: u32) -> vec4f { return load_bias(at / 4u); }
fn residual4(at: u32, count: u32) -> vec4f { return vec4f(residual[at / 4u]); }
fn gate4(at: u32, count: u32) -> vec4f { return vec4f(gate[at / 4u]); }
fn y4(at: u32, count: u32) -> vec4f { return vec4f(y[at / 4u]); }
fn store_y(at: u32, x: vec4f, count: u32) { y[at / 4u] = Y(x); }
fn store_preactivation(at: u32, x: vec4f, count: u32) { preactivation[at / 4u] = Y(x); }
