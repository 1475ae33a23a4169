// Scalar functions and their derivatives, on F: f32 or vec4f. `f_grad(x, dy)` is dy * f'(x).
// Arguments that can overflow on some adapters are clamped: tanh(110) is NaN on SwiftShader, exp ends at 88. What clamp, min and max
// do to NaN is mended by bits, and at infinities the results are PyTorch's (lib/special.wgsl).
#include "lib/special.wgsl"

fn identity(x: F) -> F { return x; }

// 1 / (1 + exp(-x)), 0 where exp(-x) is beyond f32; of NaN it is some number, which its users multiply by NaN.
fn logistic(x: F) -> F {
  let s = F(1.0) / (F(1.0) + exp(min(-x, F(88.7))));
  return select(s, F(0.0), x < F(-88.7));
}
fn sigmoid(x: F) -> F { return nan_else(x, logistic(x)); }
fn sigmoid_grad(x: F, dy: F) -> F { let s = sigmoid(x); return dy * s * (F(1.0) - s); }

// WGSL bounds tanh's absolute error alone; below 2^-12 x is nearer than a unit in the last place.
fn tanh_safe(x: F) -> F {
  let t = select(tanh(clamp(x, F(-15.0), F(15.0))), x, abs(x) < F(0.000244140625));
  return nan_else(x, t);
}
fn tanh_grad(x: F, dy: F) -> F { let t = tanh_safe(x); return dy * (F(1.0) - t * t); }

// The bits of -0 and negative numbers are those from 0x80000000 to 0xff800000; what is left are positive numbers, 0 and NaN.
fn relu(x: F) -> F { return select(x, F(0.0), (bitcast<U>(x) ^ U(0x80000000u)) <= U(0x7f800000u)); }
fn relu_grad(x: F, dy: F) -> F {
  let bits = bitcast<U>(x);
  return select(dy, F(0.0), ((bits ^ U(0x80000000u)) <= U(0x7f800000u)) | (bits == U(0u)));
}

fn silu(x: F) -> F { return x * logistic(x); }
fn silu_grad(x: F, dy: F) -> F { let s = logistic(x); return dy * s * (F(1.0) + x * (F(1.0) - s)); }

fn quick_gelu(x: F) -> F { return x * logistic(F(1.702) * x); }
fn quick_gelu_grad(x: F, dy: F) -> F {
  let s = logistic(F(1.702) * x);
  let bounded = clamp(x, F(-1e3), F(1e3));  // far beyond where s is 0 or 1
  return finite_else_nan(x, dy * s * (F(1.0) + F(1.702) * bounded * (F(1.0) - s)));
}

// gelu(x) = x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3), the approximation named gelu_new or gelu-approximate.
// 1 + tanh(u) = 2 sigmoid(2u), which costs one exp instead of tanh's two, and cancels nothing for negative u.
fn gelu_tanh_gate(x: F) -> F { return logistic(F(1.5957691216057308) * (x + F(0.044715) * x * x * x)); }
fn gelu_tanh(x: F) -> F { return x * gelu_tanh_gate(x); }
fn gelu_tanh_grad(x: F, dy: F) -> F {
  let s = gelu_tanh_gate(x);
  let bounded = clamp(x, F(-1e3), F(1e3));  // far beyond where s is 0 or 1, and below where x^3 overflows
  let du = F(1.5957691216057308) * (F(1.0) + F(0.134145) * bounded * bounded);
  return finite_else_nan(x, dy * s * (F(1.0) + bounded * (F(1.0) - s) * du));
}

// exp(x^2) erfc(x) for x >= 0 by Cody's rational functions (Math. Comp. 23, 1969); WGSL has no erf. Relative error
// under 1e-7, so that gelu keeps its small tail for negative x, where 1 + erf would cancel.
fn erf_near(x: F) -> F {  // |x| <= 0.46875
  let z = x * x;
  let p = (((F(0.185777706184603153) * z + F(3.16112374387056560)) * z + F(113.864154151050156)) * z + F(377.485237685302021)) * z + F(3209.37758913846947);
  let q = (((z + F(23.6012909523441209)) * z + F(244.024637934444173)) * z + F(1282.61652607737228)) * z + F(2844.23683343917062);
  return x * p / q;
}
fn erfc_middle(x: F) -> F {  // exp(x^2) erfc(x), 0.46875 <= x <= 4
  let p = (((((((F(2.15311535474403846e-8) * x + F(0.564188496988670089)) * x + F(8.88314979438837594)) * x + F(66.1191906371416295)) * x + F(298.635138197400131)) * x + F(881.952221241769090)) * x + F(1712.04761263407058)) * x + F(2051.07837782607147)) * x + F(1230.33935479799725);
  let q = (((((((x + F(15.7449261107098347)) * x + F(117.693950891312499)) * x + F(537.181101862009858)) * x + F(1621.38957456669019)) * x + F(3290.79923573345963)) * x + F(4362.61909014324716)) * x + F(3439.36767414372164)) * x + F(1230.33935480374942);
  return p / q;
}
fn erfc_far(x: F) -> F {  // exp(x^2) erfc(x), x >= 4
  let z = F(1.0) / (x * x);
  let p = ((((F(0.0163153871373020978) * z + F(0.305326634961232344)) * z + F(0.360344899949804439)) * z + F(0.125781726111229246)) * z + F(0.0160837851487422766)) * z + F(6.58749161529837803e-4);
  let q = ((((z + F(2.56852019228982242)) * z + F(1.87295284992346725)) * z + F(0.527905102951428412)) * z + F(0.0605183413124413191)) * z + F(2.33520497626869185e-3);
  return (F(0.564189583547756287) - z * p / q) / x;
}
// The normal distribution's cdf: erfc(-x / sqrt 2) / 2. It is under f32's smallest number for x < -13.1, and 0 there.
fn normal_cdf(x: F) -> F {
  let u = clamp(x * F(0.7071067811865476), F(-9.3), F(9.3));
  let m = abs(u);
  let scaled = select(erfc_middle(min(m, F(4.0))), erfc_far(max(m, F(4.0))), m > F(4.0));
  let tail = F(0.5) * scaled * exp(-m * m);  // P(X > |x|)
  let outer = select(F(1.0) - tail, select(tail, F(0.0), u <= F(-9.3)), u < F(0.0));
  return select(outer, F(0.5) + F(0.5) * erf_near(clamp(u, F(-0.46875), F(0.46875))), m <= F(0.46875));
}
fn gelu(x: F) -> F { return x * normal_cdf(x); }
fn gelu_grad(x: F, dy: F) -> F {
  let bounded = clamp(x, F(-13.0), F(13.0));
  let density = select(F(0.3989422804014327) * exp(F(-0.5) * bounded * bounded), F(0.0), abs(x) > F(13.2));
  return dy * (normal_cdf(x) + x * density);
}

// exp where f32 ends: infinity above its largest number's logarithm, 0 below its smallest's.
fn exponential(x: F) -> F {
  let inside = exp(clamp(x, F(-104.0), F(88.72283)));
  let above = select(inside, infinity(), x > F(88.72283));
  return nan_else(x, select(above, F(0.0), x < F(-104.0)));
}
fn exponential_grad(x: F, dy: F) -> F { return dy * exponential(x); }
// log with -infinity at 0 and NaN below. A subnormal number is its fraction times 2^-149.
fn logarithm(x: F) -> F {
  let bits = magnitude_bits(x);
  let subnormal = log(F(max(bits, U(1u)))) - F(103.27892990343185);
  let inside = select(log(x), subnormal, bits < U(0x00800000u));
  let known = select(select(inside, -infinity(), bits == U(0u)), infinity(), bits == U(0x7f800000u));
  let negative = (bitcast<U>(x) > U(0x80000000u));
  return nan_else(x, select(known, nan(), negative));
}
fn log_grad(x: F, dy: F) -> F { return dy / x; }
fn sqrt_grad(x: F, dy: F) -> F { return dy * F(0.5) / sqrt(x); }
fn reciprocal_sqrt(x: F) -> F { return F(1.0) / sqrt(x); }
fn reciprocal_sqrt_grad(x: F, dy: F) -> F { return dy * F(-0.5) / (abs(x) * sqrt(x)); }
// x less whole turns, in about [-pi, pi]: WGSL bounds the error of sin and cos only there. 2 pi in three parts, the first of
// few bits, so that its multiples are exact and the differences cancel without loss (Cody and Waite). For |x| up to 1e4.
fn within_turn(x: F) -> F {
  let turns = round(x * F(0.15915494309189535));
  return ((x - turns * F(6.28125)) - turns * F(0.0019350051879882812)) - turns * F(3.0199159819567529e-7);
}
fn sine(x: F) -> F { return sin(within_turn(x)); }
fn cosine(x: F) -> F { return cos(within_turn(x)); }
fn sin_grad(x: F, dy: F) -> F { return dy * cosine(x); }
fn cos_grad(x: F, dy: F) -> F { return -dy * sine(x); }
fn square(x: F) -> F { return x * x; }
fn square_grad(x: F, dy: F) -> F { return dy * F(2.0) * x; }
fn abs_grad(x: F, dy: F) -> F { return dy * sign(x); }
fn limited(x: F, low: F, high: F) -> F { return nan_else(x, clamp(x, low, high)); }
fn clamp_grad(x: F, dy: F, low: F, high: F) -> F { return select(F(0.0), dy, (x >= low) & (x <= high)); }

// At a tie both operands get half, as in PyTorch; beside NaN both get all.
fn maximum_grad(a: F, b: F, dy: F) -> F { return dy * select(select(F(1.0), F(0.5), a == b), F(0.0), a < b); }
fn minimum_grad(a: F, b: F, dy: F) -> F { return dy * select(select(F(1.0), F(0.5), a == b), F(0.0), a > b); }
// a / b^2, as (a / b) / b where the square has no place in f32.
fn divide_grad_b(a: F, b: F, dy: F) -> F {
  let ordinary = (abs(b) > F(1e-18)) & (abs(b) < F(1e18));
  return select(-dy * ((a / b) / b), -dy * a / (b * b), ordinary);
}

// a^b as IEEE 754 and C have it: WGSL's pow is undefined for a < 0 and loose at zeros and infinities. NaN where a < 0 and b is no
// integer; subnormal numbers count as zeros.
fn power(a: F, b: F) -> F {
  let size = abs(a);
  let exponent = abs(b);
  let odd = fract(exponent * F(0.5)) == F(0.5);
  let fraction = fract(exponent) != F(0.0);
  let ordinary = select(pow(size, b), size, b == F(1.0));
  let rises = (size > F(1.0)) == (b > F(0.0));  // away from 1, with b
  let a_bits = magnitude_bits(a);
  let b_bits = magnitude_bits(b);
  let zero = a_bits < U(0x00800000u);
  let limit = zero | (a_bits == U(0x7f800000u)) | (b_bits == U(0x7f800000u));
  let magnitude = select(ordinary, select(F(0.0), infinity(), rises), limit);
  let negative = bitcast<U>(a) >= U(0x80000000u);
  let infinite_b = b_bits == U(0x7f800000u);
  let signed = select(magnitude, -magnitude, negative & odd & !infinite_b);
  let outside = negative & fraction & !limit;
  let known = select(signed, nan(), outside);
  return select(nan_else(a, nan_else(b, known)), F(1.0), (b_bits < U(0x00800000u)) | (a == F(1.0)) | ((size == F(1.0)) & infinite_b));
}
fn power_grad_a(a: F, b: F, dy: F) -> F { return select(dy * b * power(a, b - F(1.0)), F(0.0), b == F(0.0)); }
fn power_grad_b(a: F, b: F, dy: F) -> F {
  return dy * select(power(a, b) * logarithm(a), F(0.0), (a == F(0.0)) & (b >= F(0.0)));
}
