// The smallest integer, for reduce.wgsl: as lib/reduce_min.wgsl, which is for floats.
fn initial(first: F) -> F { return first; }
fn combine(a: F, b: F) -> F { return min(a, b); }
fn fold(a: F) -> G { return join(a); }
