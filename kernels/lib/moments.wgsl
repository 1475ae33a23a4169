// Mean and sum of squared deviations in one pass by Welford's update (Technometrics 4, 1962), one stream a component of
// F and a lane; the streams join by Chan's formula. No large numbers cancel, whatever the mean.
// The kernel gives what lib/lane_sum.wgsl asks, with Sum = f32; the variant F, S = f32, WIDTH and fold_sum.
struct Moments {
  count: f32,  // of F
  mean: F,
  deviations: F,
}

fn moments_add(moments: ptr<function, Moments>, x: F) {
  moments.count += 1.0;
  let delta = x - moments.mean;
  moments.mean += delta * (1.0 / moments.count);
  moments.deviations += delta * (x - moments.mean);
}

// The mean and the sum of squared deviations of all `units` F of LANES lanes.
fn moments_join(moments: Moments, units: u32, lane: u32) -> vec2f {
  let own = fold_sum(moments.mean) / f32(WIDTH);
  let offset = moments.mean - F(own);
  let deviations = fold_sum(moments.deviations) + moments.count * fold_sum(offset * offset);
  if (LANES == 1u) { return vec2f(own, deviations); }
  let mean = lane_sum(moments.count * own, lane) / f32(units);
  let difference = own - mean;
  return vec2f(mean, lane_sum(deviations + f32(WIDTH) * moments.count * difference * difference, lane));
}
