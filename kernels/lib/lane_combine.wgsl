// lane_sum.wgsl with another function than the sum: values of LANES neighbouring lanes combined by a fixed tree; every
// lane of the group gets the result. The kernel gives: F, `fn combine(a: F, b: F) -> F`, const LANES, WORKGROUP.
const_assert (LANES & (LANES - 1u)) == 0u && WORKGROUP % LANES == 0u;

var<workgroup> lane_values: array<F, WORKGROUP>;

fn lane_combine(value: F, lane: u32) -> F {
  if (LANES == 1u) { return value; }
  lane_values[lane] = value;
  for (var width = LANES / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane % LANES < width) { lane_values[lane] = combine(lane_values[lane], lane_values[lane + width]); }
  }
  workgroupBarrier();
  let result = lane_values[lane - lane % LANES];
  workgroupBarrier();  // the next call overwrites
  return result;
}
