// Sum over groups of LANES neighbouring lanes of a workgroup of WORKGROUP lanes, by a fixed tree; every lane of the
// group gets it. LANES is a power of two; 1 needs no tree. Call it in uniform control flow.
// The kernel gives: alias Sum (f32 or a vector), const LANES, WORKGROUP.
const_assert (LANES & (LANES - 1u)) == 0u && WORKGROUP % LANES == 0u;

var<workgroup> lane_partial: array<Sum, WORKGROUP>;

fn lane_sum(value: Sum, lane: u32) -> Sum {
  if (LANES == 1u) { return value; }
  lane_partial[lane] = value;
  for (var width = LANES / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane % LANES < width) { lane_partial[lane] += lane_partial[lane + width]; }
  }
  workgroupBarrier();
  let total = lane_partial[lane - lane % LANES];
  workgroupBarrier();  // the next sum overwrites
  return total;
}
