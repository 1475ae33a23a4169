// NaN and infinities by their bits: compilers may assume that there are none, fold x != x to false, and let max(NaN, 1) be 1.
// Sums and products of them are the hardware's, and right. Subnormal numbers may be taken for zeros, as WGSL allows
// (section 15.7.2), and nothing here depends on them. The sign of a zero is kept by moves, negation and abs alone.
// The variant gives: alias F (f32 or vec4f) and U, its bits (u32 or vec4u).

// No constants: a constant expression that is not finite is an error in WGSL.
var<private> nan_bits = 0x7fc00000u;
var<private> infinity_bits = 0x7f800000u;
fn nan() -> F { return F(bitcast<f32>(nan_bits)); }
fn infinity() -> F { return F(bitcast<f32>(infinity_bits)); }

fn magnitude_bits(x: F) -> U { return bitcast<U>(x) & U(0x7fffffffu); }

// x where it is NaN, else y.
fn nan_else(x: F, y: F) -> F { return select(y, x, magnitude_bits(x) > U(0x7f800000u)); }

// NaN where x is NaN or infinite, else y.
fn finite_else_nan(x: F, y: F) -> F { return select(y, nan(), magnitude_bits(x) >= U(0x7f800000u)); }

// x where it is finite or NaN, else 0.
fn infinity_as_zero(x: F) -> F { return select(x, F(0.0), magnitude_bits(x) == U(0x7f800000u)); }

// The larger and the smaller of two, NaN where either is.
fn larger(a: F, b: F) -> F { return nan_of_either(a, b, max(a, b)); }
fn smaller(a: F, b: F) -> F { return nan_of_either(a, b, min(a, b)); }
fn nan_of_either(a: F, b: F, y: F) -> F {
  return select(y, nan(), max(magnitude_bits(a), magnitude_bits(b)) > U(0x7f800000u));
}
