// What all parameters share in one AdamW step: the gradients' norm, the count, and the factors of the update.
//   norm = sqrt(sum of the partial square sums), clip = min(1, max_norm / (norm + 1e-6)), as clip_grad_norm_ of PyTorch
//   factors = [1 or 0: apply, clip, 1 / (1 - beta1^count), 1 / sqrt(1 - beta2^count)]
// A norm that is not finite leaves the count alone and asks the update to do nothing.
#include "lib/lane_sum.wgsl"

const WORKGROUP = 256u;
const LANES = WORKGROUP;
alias Sum = f32;

struct Params {
  partials: u32,
  clips: u32,       // 0: clip = 1
  max_norm: f32,
  log_beta1: f32,   // natural logarithms, rounded from double precision
  log_beta2: f32,
}

@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> count: array<u32>;
@group(0) @binding(2) var<storage, read_write> norm: array<f32>;
@group(0) @binding(3) var<storage, read_write> factors: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

// 1 - exp(-x) for x >= 0. The difference would lose 1 - 0.999^1 to rounding.
fn one_minus_exp(x: f32) -> f32 {
  let series = x * (1.0 - x / 2.0 * (1.0 - x / 3.0 * (1.0 - x / 4.0 * (1.0 - x / 5.0 * (1.0 - x / 6.0)))));
  return select(1.0 - exp(-min(x, 88.0)), series, x < 0.2);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < params.partials; i += WORKGROUP) { sum += partials[i]; }
  let squared = lane_sum(sum, lane);
  if (lane > 0u) { return; }
  let total = sqrt(squared);
  norm[0] = total;
  // Infinity and NaN by their bits: comparisons with them may be folded away.
  let finite = (bitcast<u32>(squared) & 0x7f800000u) != 0x7f800000u;
  let steps = count[0] + u32(finite);
  count[0] = steps;
  factors[0] = f32(u32(finite));
  factors[1] = select(1.0, min(1.0, params.max_norm / (total + 1e-6)), params.clips != 0u);
  factors[2] = 1.0 / one_minus_exp(-params.log_beta1 * f32(max(steps, 1u)));
  factors[3] = inverseSqrt(one_minus_exp(-params.log_beta2 * f32(max(steps, 1u))));
}
