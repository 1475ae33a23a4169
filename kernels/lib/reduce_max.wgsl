// The largest value, for reduce.wgsl; as lib/reduce_sum.wgsl, but an accumulator starts from the first value.
fn initial(first: F) -> F { return first; }
fn combine(a: F, b: F) -> F { return max(a, b); }
fn fold(a: F) -> G { return fold_max(a); }
