// One AdamW step of one parameter, in place (Loshchilov and Hutter 2019, algorithm 2, with PyTorch's placing of eps):
//   g = clip * gradient, m += (1 - beta1) (g - m), v += (1 - beta2) (g^2 - v)
//   p -= lr * (weight_decay * p + m / (1 - beta1^count) / (sqrt(v / (1 - beta2^count)) + eps))
// One lane updates one V. `factors` comes from adamw_step.wgsl; all arithmetic and state is f32.
// The variant gives: alias V, F (elements as stored, in arithmetic).
#include "lib/index.wgsl"

struct Params {
  count: u32,                // of V
  one_minus_beta1: f32,      // rounded from double precision
  one_minus_beta2: f32,
  eps: f32,
  weight_decay: f32,
}

@group(0) @binding(0) var<storage, read_write> parameter: array<V>;
@group(0) @binding(1) var<storage, read> gradient: array<V>;
@group(0) @binding(2) var<storage, read_write> first_moment: array<V>;
@group(0) @binding(3) var<storage, read_write> second_moment: array<V>;
@group(0) @binding(4) var<storage, read> factors: array<f32, 4>;
@group(0) @binding(5) var<storage, read> lr: array<f32, 1>;
@group(0) @binding(6) var<uniform> params: Params;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3u, @builtin(num_workgroups) grid: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(workgroup, grid) * 256u + lane;
  if (i >= params.count || factors[0] == 0.0) { return; }
  let g = factors[1] * gradient[i];
  let m0 = first_moment[i];
  let v0 = second_moment[i];
  let m = m0 + params.one_minus_beta1 * (g - m0);
  let v = v0 + params.one_minus_beta2 * (g * g - v0);
  first_moment[i] = m;
  second_moment[i] = v;
  let direction = factors[2] * m / (factors[3] * sqrt(v) + F(params.eps));
  let p = parameter[i];
  // The decay alone would often be under half an ulp of p; added to the step first, it counts.
  parameter[i] = p - lr[0] * (params.weight_decay * p + direction);
}
