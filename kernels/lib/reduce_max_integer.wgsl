// The largest integer, for reduce.wgsl: as lib/reduce_max.wgsl, which is for floats.
fn initial(first: F) -> F { return first; }
fn combine(a: F, b: F) -> F { return max(a, b); }
fn fold(a: F) -> G { return join(a); }
