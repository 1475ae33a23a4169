// Values of the LANES lanes that share a row, combined by a tree in workgroup memory; every lane gets the result.
// Of the file that includes this: WORKGROUP, LANES (a power of two that divides it), F.
var<workgroup> shared_values: array<F, WORKGROUP>;

fn lanes_sum(value: F, lane: u32) -> F {
  if (LANES == 1u) { return value; }
  workgroupBarrier();
  shared_values[lane] = value;
  for (var width = LANES / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane % LANES < width) { shared_values[lane] += shared_values[lane + width]; }
  }
  workgroupBarrier();
  return shared_values[lane - lane % LANES];
}

fn lanes_max(value: F, lane: u32) -> F {
  if (LANES == 1u) { return value; }
  workgroupBarrier();
  shared_values[lane] = value;
  for (var width = LANES / 2u; width > 0u; width /= 2u) {
    workgroupBarrier();
    if (lane % LANES < width) { shared_values[lane] = max(shared_values[lane], shared_values[lane + width]); }
  }
  workgroupBarrier();
  return shared_values[lane - lane % LANES];
}
